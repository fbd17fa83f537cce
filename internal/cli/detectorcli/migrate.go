package detectorcli

import (
	"context"
	"io"
	"path"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
)

func (a app) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the Postgres schema up to date",
		Long: `Applies the migrations that the database lacks, in the first schema of the connection's
search_path. Any number of processes may do so at once: one works, the others wait.`,
		Example: `  detector migrate
  detector migrate --postgres-url postgres://postgres@localhost:5432/postgres`,
		Args: a.NoArgs,
	}
	output := cli.OutputFlag(cmd)
	a.complete(cmd)
	return a.configured(cmd, pick("postgres-url"), func(ctx context.Context, cfg *config.Config, _ []string) error {
		s, err := backends.Open(ctx, cfg)
		if err != nil {
			return err
		}
		defer s.Close()
		applied, err := s.Migrate(ctx)
		if err != nil {
			return err
		}
		for i, name := range applied {
			applied[i] = path.Base(name)
		}
		return a.Print(*output, map[string][]string{"applied": append([]string{}, applied...)}, func(w io.Writer) {
			for _, name := range applied {
				_, _ = io.WriteString(w, "applied "+name+"\n")
			}
			if len(applied) == 0 {
				_, _ = io.WriteString(w, "nothing to do\n")
			}
		})
	})
}
