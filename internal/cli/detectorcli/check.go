package detectorcli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/cli/doctor"
	"github.com/wardstream/wardstream/internal/config"
)

// A report is what the doctor found.
type report struct {
	OK     bool             `json:"ok"` // nothing failed
	Checks []doctor.Finding `json:"checks"`
}

func (a app) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at everything the detector needs, and say what to do",
		Long: `Looks at the configuration, at Redis (version, topology, persistence, eviction policy, what its user
may do, streams, groups, dead letters, clock) and at Postgres (migrations, table, privileges),
changes nothing, and says what is wrong and what to do. The exit code is 1 if something
would keep a detector from working.`,
		Example: "  detector check\n  detector check --config detector.yaml --output json",
		Args:    a.NoArgs,
	}
	output := cli.OutputFlag(cmd)
	a.complete(cmd)
	return a.configured(cmd, pick("redis-url", "postgres-url", "key-prefix", "mode", "streams", "group", "consumer"), func(ctx context.Context, cfg *config.Config, _ []string) error {
		s, err := backends.Open(ctx, cfg)
		if err != nil {
			return err
		}
		defer s.Close()
		r := report{OK: true, Checks: doctor.Examine(ctx, cfg, s)}
		for i := range r.Checks {
			f := &r.Checks[i]
			f.Found, f.Advice = cli.OneLine(f.Found), cli.OneLine(f.Advice)
			r.OK = r.OK && f.Status != doctor.Fail
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.Print(*output, r, func(w io.Writer) { a.writeReport(w, r) }); err != nil {
			return err
		}
		if !r.OK {
			return cli.ErrNegative
		}
		return nil
	})
}

func (a app) writeReport(w io.Writer, r report) {
	width := 0
	for _, f := range r.Checks {
		width = max(width, len(f.Check))
	}
	columns := display.Width(a.Stdout)
	const status = 4
	indent := status + 2 + width + 2
	for _, f := range r.Checks {
		_, _ = fmt.Fprintf(w, "%-*s  %-*s  %s\n", status, f.Status, width, f.Check, display.Fold(f.Found, indent, columns))
		if f.Advice != "" {
			_, _ = fmt.Fprintf(w, "%*s→ %s\n", indent, "", display.Fold(f.Advice, indent+2, columns))
		}
	}
}
