// Package ingresscli is the command line of ingress-check: its commands, their flags, its
// configuration file, and what each command answers.
package ingresscli

import (
	"context"

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
