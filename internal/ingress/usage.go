package ingress

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/spelling"
)

func outputFlag(flags *pflag.FlagSet, output *string) {
	flags.StringVarP(output, "output", "o", "text", "text or json")
}

// globalFlag is the annotation of flags that several commands have.
const globalFlag = "wardstream_global"

// markGlobal marks the flags that say which store to ask, and where that is written.
func markGlobal(flags *pflag.FlagSet) {
	for _, name := range append(storeFlags(), "config") {
		flags.Lookup(name).Annotations = map[string][]string{globalFlag: nil}
	}
}

// usage writes how a command is used, its own flags apart from those that it shares with others.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	section := func(title, text string) {
		if text = strings.TrimRight(text, "\n"); text != "" {
			b.WriteString("\n" + title + ":\n" + text + "\n")
		}
	}
	own, global := pflag.NewFlagSet("own", pflag.ContinueOnError), pflag.NewFlagSet("global", pflag.ContinueOnError)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, shared := f.Annotations[globalFlag]; shared {
			global.AddFlag(f)
			return
		}
		own.AddFlag(f)
	})
	var commands strings.Builder
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			fmt.Fprintf(&commands, "  %-*s %s\n", cmd.NamePadding(), c.Name(), c.Short)
		}
	}
	b.WriteString("Usage:\n  " + cmd.UseLine() + "\n")
	if cmd.HasAvailableSubCommands() {
		b.WriteString("  " + cmd.CommandPath() + " COMMAND\n")
	}
	section("Commands", commands.String())
	section("Flags", own.FlagUsages())
	section("Global flags", global.FlagUsages())
	_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
	return err //nolint:wrapcheck // of the terminal
}

// noArgs refuses arguments. To a command that holds others they are a mistyped command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return fmt.Errorf("%.80q: %s takes no arguments; see %s --help", args[0], cmd.Name(), cmd.CommandPath())
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	suggestion := spelling.Suggestion(args[0], names)
	if meant := otherWords()[strings.ToLower(args[0])]; slices.Contains(names, meant) {
		suggestion = fmt.Sprintf("; did you mean %q?", meant)
	}
	return fmt.Errorf("%.80q is not a command%s; %s --help lists them", args[0], suggestion, cmd.CommandPath())
}

// otherWords are what others call our commands.
func otherWords() map[string]string {
	return map[string]string{"run": "serve", "start": "serve", "server": "serve", "listen": "serve", "ask": "check", "lookup": "check", "status": "check"}
}

// wrongFlag adds what was meant to the error about a flag that a command doesn't have.
func wrongFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return fmt.Errorf("%w%s", err, spelling.Suggestion("--"+unknown.GetSpecifiedName(), names))
}
