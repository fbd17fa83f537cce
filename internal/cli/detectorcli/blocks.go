package detectorcli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/pkg/checker"
)

// defaultLimit is how much a listing shows by default.
const defaultLimit = 1000

func (a app) blocksCommand() *cobra.Command {
	var which operator.Selection
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
	f.StringVar(&which.ScopeType, "scope", "", "only scopes of this type, such as ip or user")
	f.StringVar(&which.Rule, "rule", "", "only blocks by this rule; "+operator.ManualRule+" are those of operators")
	f.IntVar(&which.Limit, "limit", defaultLimit, "most blocks to list; 0 is all")
	output := cli.OutputFlag(cmd)
	a.complete(cmd, scopeTypes)
	a.completeFlag(cmd, "scope", scopeTypes)
	a.completeFlag(cmd, "rule", blockers)
	return a.configured(cmd, blockSettings(), func(ctx context.Context, cfg *config.Config, args []string) error {
		if which.Limit < 0 {
			return fmt.Errorf("--limit %d: must be 0 or more", which.Limit)
		}
		if len(args) == 0 {
			return withReader(ctx, cfg, listTimeout, func(ctx context.Context, r operator.Reader) error {
				return a.listBlocks(ctx, r, *output, which)
			})
		}
		scope, err := operator.ScopesOf(cfg).Parse(args[0], args[1])
		if err != nil {
			return err
		}
		return withReader(ctx, cfg, commandTimeout, func(ctx context.Context, r operator.Reader) error {
			return a.showBlock(ctx, r, *output, scope)
		})
	})
}

func (a app) showBlock(ctx context.Context, r operator.Reader, f cli.Format, scope checker.Scope) error {
	blocks, err := r.LookUp(ctx, scope)
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

func (a app) listBlocks(ctx context.Context, r operator.Reader, f cli.Format, which operator.Selection) error {
	list, err := r.List(ctx, which)
	if err != nil {
		return err
	}
	none := "nobody is blocked"
	if list.Partial != nil {
		a.Warn("permanent blocks are unknown, but for those that Redis has a copy of: %v", list.Partial)
		none = "Redis has no blocks"
	}
	if list.More {
		a.Warn("there are more than %d; --limit 0 lists all", which.Limit)
	}
	return a.printBlocks(f, list.Blocks, none)
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
