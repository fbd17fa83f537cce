// Package detectorcli is the command line of the detector: its commands, their flags, and what each
// answers.
package detectorcli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
)

// An app makes the detector's commands.
type app struct {
	cli.App

	kill context.Context // ends the worker at once
}

// Main runs the command that the arguments name until it is done or ctx ends, and returns the exit
// code: 0, 1 for a negative answer, 2 for an error. The worker finishes what it has in flight when
// ctx ends, and stops at once when kill ends.
func Main(ctx, kill context.Context, a cli.App) int {
	a.Name, a.Synonyms = "detector", synonyms()
	return a.Execute(ctx, app{a, kill}.root())
}

// synonyms are what others call our commands.
func synonyms() map[string]string {
	return map[string]string{
		"ban": "block", "deny": "block", "unban": "unblock", "allow": "unblock", "pardon": "unblock", "list": "blocks", "ls": "blocks", "bans": "blocks",
		"status": "check", "doctor": "check", "serve": "run", "start": "run", "worker": "run", "dlq": "dead-letters", "deadletter": "dead-letters",
		"rule": "rules", "retry": "requeue", "replay": "requeue", "delete": "purge",
	}
}

func (a app) root() *cobra.Command {
	root := a.runCommand()
	root.Use = "detector"
	root.Short = "Reads audit events, runs rules over them and writes blocks"
	root.Long = `Wardstream's detector reads audit events from Redis streams, runs rules over them and
writes blocks: temporary ones to Redis, permanent ones to Postgres with a copy in Redis.

Without a command it runs the worker. Settings come from flags, the environment and a file;
detector.example.yaml has them all.`
	root.Example = `  detector check
  detector migrate
  detector run --config detector.yaml
  detector blocks`
	a.Root(root)
	root.Version = a.Build().Version
	root.SetVersionTemplate("detector {{.Version}}\n")
	root.AddCommand(
		a.runCommand(), a.migrateCommand(), a.checkCommand(),
		a.blockCommand(), a.unblockCommand(), a.blocksCommand(),
		a.rulesCommand(), a.deadLettersCommand(), a.VersionCommand(),
		a.demoCommand(), a.devCommand(),
	)
	a.addCompletionCommand(root)
	return root
}
