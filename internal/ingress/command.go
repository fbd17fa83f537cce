package ingress

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
)

// An app makes the commands of ingress-check.
type app struct{ cli.App }

// Main runs the command that the arguments name, until it is done or ctx ends, and
// returns the exit code: 0, 1 for a negative answer, 2 for an error.
func Main(ctx context.Context, a cli.App) int {
	a.Name, a.Synonyms = "ingress-check", synonyms()
	root := &cobra.Command{
		Use:   "ingress-check",
		Short: "Asks Wardstream whether a client is blocked, for proxies and on the command line",
		Args:  a.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	a.Root(root)
	root.AddCommand(app{a}.serveCommand(), app{a}.checkCommand(), a.VersionCommand())
	return a.Execute(ctx, root)
}

// synonyms are what others call our commands.
func synonyms() map[string]string {
	return map[string]string{"run": "serve", "start": "serve", "server": "serve", "listen": "serve", "ask": "check", "lookup": "check", "status": "check"}
}

func (a app) serveCommand() *cobra.Command {
	defaults := DefaultOptions()
	flags := defaults.flags()
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer forward-auth requests of nginx, Traefik, Caddy, HAProxy and Envoy",
		Args:  a.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := load(file, flags, a.Environ)
			if err != nil {
				return err
			}
			log := cli.NewLogger(a.Stderr, "info", o.LogFormat)
			o.Stdout = a.Stdout
			hangups := make(chan os.Signal, 1) // from now on: it would end the process
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			s, err := New(cmd.Context(), o, log)
			if err != nil {
				return err
			}
			go onHangup(cmd.Context(), hangups, s.Reload)
			return s.Run(cmd.Context())
		},
	}
	cmd.Flags().AddFlagSet(flags)
	cmd.Flags().StringVar(&file, "config", "", "YAML file of these options")
	markGlobal(cmd.Flags())
	return cmd
}

// onHangup calls reload for each SIGHUP until ctx ends.
func onHangup(ctx context.Context, hangups <-chan os.Signal, reload func()) {
	for {
		select {
		case <-hangups:
			reload()
		case <-ctx.Done():
			return
		}
	}
}
