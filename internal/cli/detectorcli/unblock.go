package detectorcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/pkg/checker"
)

func (a app) unblockCommand() *cobra.Command {
	var reason, by string
	cmd := &cobra.Command{
		Use:   "unblock TYPE VALUE",
		Short: "Lift every block of a scope",
		Long: `Lifts every block of a scope, temporary or permanent, and sees to it that events from before
don't block it again; new ones may. The exit code is 1 if nothing was blocked.

The sinks of enforcement events, but standard output, are notified (audit.enforcement.block_revoked).`,
		Example: `  detector unblock ip 203.0.113.9 --reason "our own office"
  detector unblock user 42`,
		Args: scopeArgs,
	}
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "why, for the history of the block")
	f.StringVar(&by, "by", "", "name of the operator (default: your user name)")
	output := cli.OutputFlag(cmd)
	a.complete(cmd, scopeTypes)
	return a.configured(cmd, append(blockSettings(), pick("streams")...), func(ctx context.Context, cfg *config.Config, args []string) error {
		scope, err := operator.ScopesOf(cfg).Parse(args[0], args[1])
		if err = errors.Join(err, checkNote("reason", reason), checkNote("by", by)); err != nil {
			return err
		}
		return a.withOperator(ctx, cfg, func(ctx context.Context, o *operator.Operator) error {
			lifted, err := o.Unblock(ctx, operator.UnblockRequest{Scope: scope, By: orMe(by), Reason: reason})
			if errors.Is(err, operator.ErrNotPublished) {
				a.Warn("%v", err)
			} else if err != nil {
				return err
			}
			a.warnOfRanges(ctx, o, scope)
			return a.printLifted(*output, scope, lifted)
		})
	})
}

// warnOfRanges says which ranges still block an address.
func (a app) warnOfRanges(ctx context.Context, o *operator.Operator, scope checker.Scope) {
	blocks, err := o.LookUp(ctx, scope)
	if err != nil {
		return // what was asked for is done
	}
	for _, b := range blocks {
		if b.Scope != scope {
			a.Warn("%s is still blocked, by the block of %s; unblock that to let it in", cli.Printable(scope.Value), cli.Printable(b.Scope.Value))
		}
	}
}

func (a app) printLifted(f cli.Format, scope checker.Scope, lifted []checker.Block) error {
	now := time.Now()
	views := viewsOf(lifted, now)
	err := a.Print(f, map[string][]blockView{"lifted": views}, func(w io.Writer) {
		if len(lifted) == 0 {
			_, _ = fmt.Fprintf(w, "%s %s was not blocked; events from before now won't block it either\n", cli.Printable(scope.Type), cli.Printable(scope.Value))
		}
		for _, v := range views {
			_, _ = fmt.Fprintf(w, "%s %s was blocked %s by rule %s and is no longer\n", cli.Printable(v.ScopeType), cli.Printable(v.ScopeValue), v.until(), cli.Printable(v.Rule))
		}
	})
	if err == nil && len(lifted) == 0 {
		return cli.ErrNegative
	}
	return err
}
