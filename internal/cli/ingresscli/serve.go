package ingresscli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/ingress"
)

func (a app) serveCommand() *cobra.Command {
	defaults := ingress.DefaultOptions()
	flags := optionFlags(&defaults)
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
			s, err := ingress.New(cmd.Context(), o, log)
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
