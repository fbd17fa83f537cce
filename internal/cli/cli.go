// Package cli is what the command lines of both binaries share: exit codes, help, the format of
// answers and errors, the version and the logger. It knows no command. Answers go to standard
// output, logs and errors to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of the commands.
const (
	ExitOK       = 0
	ExitNegative = 1 // a negative answer: something is not there, not right, not finished
	ExitError    = 2
)

// ErrNegative ends a command with [ExitNegative]. The command has printed its answer; nothing more
// is reported.
var ErrNegative = errors.New("the answer is negative")

var errInterrupted = errors.New("interrupted; what was asked may be done or not, ask again")

// An App is what the commands of a binary get from outside.
type App struct {
	Name           string   // of the binary
	Args           []string // without the binary's name
	Stdout, Stderr io.Writer
	Environ        []string // as os.Environ returns it
	Version        string   // of the software; "" asks the build
	// Synonyms are the words that other programs have for our commands, for suggestions.
	Synonyms map[string]string
}

// Execute runs the command that the arguments name, until it is done or ctx ends, and returns the
// exit code. An error is reported in one line on Stderr, and each of several errors in a line of
// its own. An error in whose chain is an ExitCode method chooses its exit code.
func (a App) Execute(ctx context.Context, root *cobra.Command) int {
	root.SetArgs(a.Args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrNegative):
		return ExitNegative
	}
	var own interface {
		error
		ExitCode() int
	}
	if errors.As(err, &own) {
		a.complain(err)
		return own.ExitCode()
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errInterrupted
	}
	a.complain(err)
	return ExitError
}

// Root sets up the root command: where it writes, its help, and its errors about what it doesn't
// know.
func (a App) Root(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(a.Stdout) // the completion command keeps it
	root.SetErr(a.Stderr)
	root.SetUsageFunc(a.usage)
	root.SetFlagErrorFunc(wrongFlag)
	root.SetHelpCommand(a.helpCommand())
}

// Group returns a command that only holds others.
func (a App) Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: a.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// NoArgs refuses arguments. To a command that holds others they are a mistyped command.
func (a App) NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return a.unknownCommand(cmd, args[0])
	}
	return fmt.Errorf("%q: %s takes no arguments; see %s --help", Clip(args[0]), cmd.Name(), cmd.CommandPath())
}

// complain reports an error, or each of several in a line of its own.
func (a App) complain(err error) {
	all := []error{err}
	var several interface {
		error
		All() []error
	}
	if errors.As(err, &several) {
		all = several.All()
	}
	for _, one := range all {
		_, _ = fmt.Fprintf(a.Stderr, "%s: %s\n", a.Name, OneLine(one.Error()))
	}
}

// Warn reports what the user should know although the command did what it was asked.
func (a App) Warn(format string, args ...any) {
	_, _ = fmt.Fprintf(a.Stderr, "%s: warning: %s\n", a.Name, OneLine(fmt.Sprintf(format, args...)))
}

// Getenv looks a variable up in Environ; the last of a name counts.
func (a App) Getenv(name string) string {
	value := ""
	for _, entry := range a.Environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
