// Package cli is the command line of the detector: what it takes, what it prints
// where, and which exit code says what. Answers go to standard output, logs and errors to
// standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/config"
)

// Exit codes of the commands.
const (
	exitOK    = 0
	exitNo    = 1 // a negative answer: something is not there, not right, not finished
	exitError = 2
)

var (
	// errNo is a negative answer that has been given already.
	errNo          = errors.New("no")
	errInterrupted = errors.New("interrupted; what was asked may be done or not, ask again")
)

// App is what the commands get from outside.
type App struct {
	Args           []string // without the program's name
	Stdout, Stderr io.Writer
	Environ        []string // as os.Environ returns it
	Version        string   // of the software; "" asks the build
}

// Main runs the command that the arguments name until it is done or ctx ends, and
// returns the exit code: 0, 1 for a negative answer, 2 for an error, which is then said in
// one line on Stderr (one for each mistake of a configuration). A worker that ctx has told to
// stop is finishing what it has in hand; when kill ends it stops at once.
func (a App) Main(ctx, kill context.Context) int {
	root := a.root(kill)
	root.SetArgs(a.Args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errNo):
		return exitNo
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil && !errors.Is(err, errUnfinished) {
		err = errInterrupted
	}
	a.complain(err)
	if errors.Is(err, errUnfinished) {
		return exitNo
	}
	return exitError
}

func (a App) root(kill context.Context) *cobra.Command {
	root := a.runCommand(kill)
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
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(a.Stdout) // the command of completion keeps it
	root.SetErr(a.Stderr)
	root.SetUsageFunc(a.usage)
	root.SetFlagErrorFunc(wrongFlag)
	root.SetHelpCommand(a.helpCommand())
	root.Version = a.version()
	root.SetVersionTemplate("detector {{.Version}}\n")
	root.AddCommand(
		a.runCommand(kill), a.migrateCommand(), a.checkCommand(),
		a.blockCommand(), a.unblockCommand(), a.blocksCommand(),
		a.rulesCommand(), a.deadLettersCommand(), a.versionCommand(),
		a.demoCommand(), a.devCommand(),
	)
	addCompletionCommand(root)
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// noArgs refuses arguments. To a command that holds others they are a mistyped command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return notACommand(cmd, args[0])
	}
	return fmt.Errorf("%q: %s takes no arguments; see %s --help", clip(args[0]), cmd.Name(), cmd.CommandPath())
}

// complain says what went wrong, each mistake of a configuration on its own line.
func (a App) complain(err error) {
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		_, _ = fmt.Fprintln(a.Stderr, "detector: "+oneLine(err.Error()))
		return
	}
	for _, mistake := range mistakes {
		_, _ = fmt.Fprintln(a.Stderr, "detector: "+oneLine(mistake.Error()))
	}
}

// warn says what the operator should know although the command did what it was asked.
func (a App) warn(format string, args ...any) {
	_, _ = fmt.Fprintln(a.Stderr, "detector: warning: "+oneLine(fmt.Sprintf(format, args...)))
}

// getenv looks a variable up in Environ; the last of a name counts.
func (a App) getenv(name string) string {
	value := ""
	for _, entry := range a.Environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
