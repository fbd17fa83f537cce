package detectorcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// defaultLimit is how much a listing shows by default.
const defaultLimit = 1000

func (a app) blocksCommand() *cobra.Command {
	var which selector
	var limit int
	cmd := &cobra.Command{
		Use:   "blocks [TYPE VALUE]",
		Short: "List who is blocked, why and until when",
		Long: `Lists the active blocks, permanent ones first, then by scope. With a type and a value it shows
what blocks that scope, for an address its ranges too; the exit code is 1 if nothing does.`,
		Example: `  detector blocks
  detector blocks --scope user --output json
  detector blocks --rule brute_force_login
  detector blocks ip 203.0.113.9`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return scopeArgs(cmd, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&which.typ, "scope", "", "only scopes of this type, such as ip or user")
	f.StringVar(&which.rule, "rule", "", "only blocks by this rule; "+byOperator+" are those of operators")
	f.IntVar(&limit, "limit", defaultLimit, "most blocks to list; 0 is all")
	output := cli.OutputFlag(cmd)
	a.complete(cmd, scopeTypes)
	a.completeFlag(cmd, "scope", scopeTypes)
	a.completeFlag(cmd, "rule", blockers)
	return a.configured(cmd, blockSettings(), func(ctx context.Context, cfg *config.Config, args []string) error {
		if limit < 0 {
			return fmt.Errorf("--limit %d: must be 0 or more", limit)
		}
		if len(args) == 0 {
			return withStores(ctx, cfg, listTimeout, func(ctx context.Context, s *backends.Stores) error {
				return a.listBlocks(ctx, s, *output, which, limit)
			})
		}
		scope, err := scopeOf(cfg, args[0], args[1])
		if err != nil {
			return err
		}
		return withStores(ctx, cfg, commandTimeout, func(ctx context.Context, s *backends.Stores) error {
			return a.showBlock(ctx, cfg, s, *output, scope)
		})
	})
}

func (a app) showBlock(ctx context.Context, cfg *config.Config, s *backends.Stores, f cli.Format, scope checker.Scope) error {
	if err := knownScope(ctx, cfg, s, scope); err != nil {
		return err
	}
	blocks, err := lookUp(ctx, s, scope)
	if err != nil {
		return err
	}
	if len(blocks) == 0 {
		if err := a.printBlocks(f, nil, fmt.Sprintf("%s %s is not blocked", cli.Printable(scope.Type), cli.Printable(scope.Value))); err != nil {
			return err
		}
		return cli.ErrNegative
	}
	return a.printBlocks(f, blocks, "")
}

func (a app) listBlocks(ctx context.Context, s *backends.Stores, f cli.Format, which selector, limit int) error {
	ask := 0 // all
	if which == (selector{}) && limit > 0 {
		ask = limit + 1 // one more says that there are more
	}
	blocks, err := s.Blocks.List(ctx, ask)
	none := "nobody is blocked"
	switch {
	case errors.Is(err, store.ErrPartial):
		a.Warn("permanent blocks are unknown, but for those that Redis has a copy of: %v", err)
		none = "Redis has no blocks"
	case err != nil:
		return err
	}
	blocks = which.of(blocks)
	if limit > 0 && len(blocks) > limit {
		blocks = blocks[:limit]
		a.Warn("there are more than %d; --limit 0 lists all", limit)
	}
	return a.printBlocks(f, blocks, none)
}

// A selector says which blocks are listed; what is empty says nothing.
type selector struct{ typ, rule string }

func (s selector) of(blocks []checker.Block) []checker.Block {
	return slices.DeleteFunc(blocks, func(b checker.Block) bool {
		return s.typ != "" && b.Scope.Type != s.typ || s.rule != "" && b.Rule != s.rule
	})
}

func (a app) printBlocks(f cli.Format, blocks []checker.Block, none string) error {
	views := viewsOf(blocks, time.Now())
	return a.Print(f, views, func(w io.Writer) {
		if len(views) == 0 {
			_, _ = fmt.Fprintln(w, none)
			return
		}
		rows := make([][]string, len(views))
		for i, v := range views {
			rows[i] = []string{v.ScopeType, v.ScopeValue, v.remaining(), v.Rule, v.CreatedAt, v.Reason}
		}
		a.Table(w, []string{"SCOPE", "VALUE", "REMAINING", "RULE", "SINCE", "REASON"}, rows, "REASON", "VALUE", "RULE", "SINCE")
	})
}

// A blockView is a block as it is printed.
type blockView struct {
	ScopeType  string `json:"scope_type"`
	ScopeValue string `json:"scope_value"`
	Permanent  bool   `json:"permanent"`
	// RemainingSeconds and ExpiresAt are those of a temporary block.
	RemainingSeconds int64          `json:"remaining_seconds,omitempty"`
	ExpiresAt        string         `json:"expires_at,omitempty"`
	CreatedAt        string         `json:"created_at,omitempty"`
	Rule             string         `json:"rule_name"`
	Reason           string         `json:"reason"`
	StatusCode       int            `json:"status_code"`
	Message          string         `json:"message"`
	ID               string         `json:"id,omitempty"` // enforcement.id
	Metadata         map[string]any `json:"metadata,omitempty"`
}

func viewOf(b checker.Block, now time.Time) blockView {
	v := blockView{
		ScopeType: b.Scope.Type, ScopeValue: b.Scope.Value, Permanent: b.Permanent(), CreatedAt: cli.Timestamp(b.CreatedAt),
		Rule: b.Rule, Reason: b.Reason, StatusCode: b.StatusCode, Message: b.Message, ID: b.ID, Metadata: b.Metadata,
	}
	if !v.Permanent {
		v.ExpiresAt = cli.Timestamp(b.ExpiresAt)
		v.RemainingSeconds = int64(max(b.ExpiresAt.Sub(now), 0).Round(time.Second) / time.Second)
	}
	return v
}

func viewsOf(blocks []checker.Block, now time.Time) []blockView {
	views := make([]blockView, len(blocks))
	for i, b := range blocks {
		views[i] = viewOf(b, now)
	}
	return views
}

func (v blockView) remaining() string {
	if v.Permanent {
		return "permanent"
	}
	return display.Duration(time.Duration(v.RemainingSeconds) * time.Second)
}

func (v blockView) until() string {
	if v.Permanent {
		return "permanently"
	}
	return "until " + v.ExpiresAt + " (" + v.remaining() + ")"
}
