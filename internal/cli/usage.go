package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/spelling"
)

// globalFlag is the annotation of flags that many commands have: what sets a key of the
// configuration.
const globalFlag = "wardstream_global"

// MarkGlobal lists the flags under "Global flags" in a command's help.
func MarkGlobal(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flags.Lookup(name).Annotations = map[string][]string{globalFlag: nil}
	}
}

// usage writes how a command is used, its own flags apart from those that it shares with others.
func (a App) usage(cmd *cobra.Command) error {
	var b strings.Builder
	section := func(title, text string) {
		if text = strings.TrimRight(text, "\n"); text != "" {
			b.WriteString("\n" + title + ":\n" + text + "\n")
		}
	}
	b.WriteString("Usage:\n")
	if cmd.Runnable() {
		b.WriteString("  " + cmd.UseLine() + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("  " + cmd.CommandPath() + " COMMAND\n")
	}
	section("Examples", cmd.Example)
	section("Commands", commands(cmd))
	own, global := splitFlags(cmd)
	width := display.Width(a.Stdout)
	section("Flags", own.FlagUsagesWrapped(width))
	section("Global flags", global.FlagUsagesWrapped(width))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more of a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
	return err
}

// commands lists those that a command holds.
func commands(cmd *cobra.Command) string {
	var b strings.Builder
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			fmt.Fprintf(&b, "  %-*s %s\n", cmd.NamePadding(), c.Name(), c.Short)
		}
	}
	return b.String()
}

func splitFlags(cmd *cobra.Command) (own, global *pflag.FlagSet) {
	own, global = pflag.NewFlagSet("own", pflag.ContinueOnError), pflag.NewFlagSet("global", pflag.ContinueOnError)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, shared := f.Annotations[globalFlag]; shared {
			global.AddFlag(f)
			return
		}
		own.AddFlag(f)
	})
	return own, global
}

// wrongFlag adds to the error about an unknown flag which flag was probably meant, or which command
// has it.
func wrongFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return err
	}
	name := unknown.GetSpecifiedName()
	if other := commandWith(cmd.Root(), name); other != "" {
		return fmt.Errorf("%w: %s does not use it, %s does", err, cmd.CommandPath(), other)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return fmt.Errorf("%w%s", err, spelling.Suggestion("--"+name, names))
}

// commandWith returns the path of a command below root that has the flag, "" if none has.
func commandWith(root *cobra.Command, flag string) string {
	for _, c := range root.Commands() {
		if c.Flags().Lookup(flag) != nil {
			return c.CommandPath()
		}
		if path := commandWith(c, flag); path != "" {
			return path
		}
	}
	return ""
}

// unknownCommand is the error about a word that stands where a command should; it names the command
// that was probably meant.
func (a App) unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	suggestion := spelling.Suggestion(word, names)
	if meant := a.Synonyms[strings.ToLower(word)]; slices.Contains(names, meant) {
		suggestion = fmt.Sprintf("; did you mean %q?", meant)
	}
	return fmt.Errorf("unknown command %q%s; %s --help lists them", Clip(word), suggestion, cmd.CommandPath())
}

// helpCommand is cobra's help, except that unknown commands are an error.
func (a App) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show how a command is used",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic := cmd.Root()
			for _, word := range args {
				at := slices.IndexFunc(topic.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
				if at < 0 {
					return a.unknownCommand(topic, word)
				}
				topic = topic.Commands()[at]
			}
			topic.InitDefaultHelpFlag()
			topic.InitDefaultVersionFlag()
			return topic.Help()
		},
	}
}
