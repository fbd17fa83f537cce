package detectorcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/pkg/checker"
)

// What an operator may say about a block; the configuration has the same bounds.
const (
	maxNote   = 1024 // bytes
	minTTL    = time.Second
	maxTTL    = 8760 * time.Hour
	minStatus = 400
	maxStatus = 599
)

// A blockOrder is what the flags of block say.
type blockOrder struct {
	ttl                 duration
	temporary           bool // --ttl was given
	reason, by, message string
	status              int
	yes                 bool
	output              *cli.Format
}

func (a app) blockCommand() *cobra.Command {
	var o blockOrder
	cmd := &cobra.Command{
		Use:   "block TYPE VALUE",
		Short: "Block an ip, user, username, session or scope of your own",
		Long: `Blocks a scope by hand, at once, whatever the rules say, in place of a weaker block and never of
a stronger one, and prints what is in force. Without --ttl the block is permanent; for an ip,
which others may share, that needs --yes, and so does what the allowlist names and a range wider
than /16 (IPv6: /32). An ip may be a range: ingress looks up /24 and /16, /64 and /48 unless configured otherwise.

It takes back an earlier unblock of the scope. The sinks of enforcement events, but standard
output, are notified (audit.enforcement.block_applied).`,
		Example: `  detector block ip 203.0.113.9 --ttl 10m --reason "scraping the catalogue"
  detector block user 42 --reason fraud
  detector block ip 203.0.113.9 --yes
  detector block ip 203.0.113.0/24 --ttl 1h`,
		Args: scopeArgs,
	}
	f := cmd.Flags()
	f.Var(&o.ttl, "ttl", "length of a temporary block, such as 10m, 12h or 7d (default: permanent)")
	f.StringVar(&o.reason, "reason", "", "why, for the history of the block")
	f.StringVar(&o.by, "by", "", "name of the operator (default: your user name)")
	f.IntVar(&o.status, "status", 0, "HTTP status of the denial (default: blocks.status_code)")
	f.StringVar(&o.message, "message", "", "message for the denied client (default: blocks.message)")
	f.BoolVar(&o.yes, "yes", false, "block an ip permanently, a very wide range, or what the allowlist names")
	o.output = cli.OutputFlag(cmd)
	a.complete(cmd, scopeTypes)
	return a.configured(cmd, blockSettings(), func(ctx context.Context, cfg *config.Config, args []string) error {
		o.temporary = f.Changed("ttl")
		scope, err := o.check(cfg, args[0], args[1])
		if err != nil {
			return err
		}
		return a.withOperator(ctx, cfg, func(ctx context.Context, op *operator.Operator) error {
			return a.block(ctx, cfg, op, o, scope)
		})
	})
}

// scopeArgs wants a type and a value.
func scopeArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s wants a type and a value, such as: %s ip 203.0.113.9", cmd.Name(), cmd.CommandPath())
	}
	return nil
}

func (a app) block(ctx context.Context, cfg *config.Config, op *operator.Operator, o blockOrder, scope checker.Scope) error {
	if !o.temporary && cfg.Postgres.URL == "" {
		a.Warn("postgres.url is not set: the block lasts %s at most (blocks.permanent_cache_ttl)", display.Duration(cfg.Blocks.PermanentCacheTTL))
	}
	if bits, ok := operator.ScopesOf(cfg).NotLookedUp(scope); ok {
		a.Warn("ingress looks up ranges of /%d only where it is configured to (checker.WithRanges, ingress-check --ipv4-ranges), or through a mirror", bits)
	}
	now := time.Now()
	block, err := op.Block(ctx, operator.BlockRequest{
		Scope: scope, TTL: time.Duration(o.ttl), Reason: o.reason, By: orMe(o.by), StatusCode: o.status, Message: o.message,
	})
	switch {
	case errors.Is(err, operator.ErrNotPublished), errors.Is(err, operator.ErrInRedisOnly):
		a.Warn("%v", err)
	case err != nil && !o.temporary && cfg.Postgres.URL != "":
		return fmt.Errorf("%w; it may be in force for %s through Redis alone: fix Postgres and run the command again", err, display.Duration(cfg.Blocks.PermanentCacheTTL))
	case err != nil:
		return err
	}
	view := viewOf(block, now)
	return a.Print(*o.output, view, func(w io.Writer) { _, _ = fmt.Fprintln(w, o.describe(view)) })
}

// check refuses what cannot be done and what has to be confirmed. It returns what to block.
func (o *blockOrder) check(cfg *config.Config, typ, value string) (checker.Scope, error) {
	if err := o.checkFlags(); err != nil {
		return checker.Scope{}, err
	}
	scopes := operator.ScopesOf(cfg)
	scope, err := scopes.ParseBlockable(typ, value)
	if err != nil || o.yes {
		return scope, err
	}
	return scope, confirm(scope, scopes.Risk(scope, !o.temporary))
}

func (o *blockOrder) checkFlags() error {
	ttl := time.Duration(o.ttl)
	switch {
	case o.temporary && (ttl < minTTL || ttl > maxTTL):
		return fmt.Errorf("--ttl %q: must be between %s and %s; leave it out for a permanent block", exact(ttl), minTTL, exact(maxTTL))
	case o.status != 0 && (o.status < minStatus || o.status > maxStatus):
		return fmt.Errorf("--status %d: must be between %d and %d", o.status, minStatus, maxStatus)
	}
	for _, note := range []struct{ name, text string }{{"reason", o.reason}, {"by", o.by}, {"message", o.message}} {
		if err := checkNote(note.name, note.text); err != nil {
			return err
		}
	}
	return nil
}

func checkNote(name, text string) error {
	if len(text) > maxNote || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return fmt.Errorf("--%s: must be text of up to %d bytes", name, maxNote)
	}
	return nil
}

// confirm refuses a block with a risk, which was not confirmed with --yes.
func confirm(scope checker.Scope, risk operator.Risk) error {
	switch risk {
	case operator.WideRange:
		return fmt.Errorf("%s is a very wide range; add --yes to block it all the same", scope.Value)
	case operator.Allowlisted:
		return fmt.Errorf("%s %q is on the allowlist, so rules never block it; add --yes to block it all the same", scope.Type, scope.Value)
	case operator.SharedAddress:
		return errors.New("a permanent block of an ip also blocks later users of the address and everyone who shares it; give a --ttl, or add --yes")
	case operator.NoRisk:
	}
	return nil
}

// describe says what is in force, and whether it is what was asked for.
func (o *blockOrder) describe(v blockView) string {
	asked := int64(time.Duration(o.ttl) / time.Second)
	stronger := o.temporary && (v.Permanent || v.RemainingSeconds > asked+1)
	text := fmt.Sprintf("%s %s is blocked %s", cli.Printable(v.ScopeType), cli.Printable(v.ScopeValue), v.until())
	if stronger {
		text += fmt.Sprintf("; that block is stronger and stays: by rule %s since %s", cli.Printable(v.Rule), v.CreatedAt)
	}
	return text
}

// orMe is by, or the name of the user who runs the command.
func orMe(by string) string {
	if by != "" {
		return by
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}
