package detectorcli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/operator"
)

// A completer completes what is typed at a shell. Of a configuration that can't be read it knows
// the defaults: a mistake in it is reported when the command runs.
type completer func(cfg *config.Config) []string

// complete has the shell offer, for each argument in turn, what one of these knows; for further
// arguments nothing, and never the files of the working directory.
func (a app) complete(cmd *cobra.Command, arguments ...completer) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(arguments) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return arguments[len(args)](a.known(cmd)), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeAll is complete for a command that takes any number of one kind of argument; those that
// are there aren't offered again.
func (a app) completeAll(cmd *cobra.Command, arguments completer) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		left := slices.DeleteFunc(arguments(a.known(cmd)), func(word string) bool { return slices.Contains(args, word) })
		return left, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag has the shell offer the values of a flag.
func (a app) completeFlag(cmd *cobra.Command, name string, values completer) {
	// It fails for flags that aren't there, and a test would notice.
	_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return values(a.known(cmd)), cobra.ShellCompDirectiveNoFileComp
	})
}

// known is the configuration that the line typed so far names, or the default one.
func (a app) known(cmd *cobra.Command) *config.Config {
	if cmd.Flags().Lookup("config") != nil {
		if cfg, err := a.load(cmd.Flags()); err == nil {
			return cfg
		}
	}
	cfg, err := config.Parse("", nil, config.Options{Hostname: "completion"})
	if err != nil {
		return &config.Config{Policy: &enforce.Policy{}} // not reached: the defaults are valid
	}
	return cfg
}

// addCompletionCommand adds cobra's command that prints a script for a shell, with our answer to
// mistyped ones.
func (a app) addCompletionCommand(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short, c.Args = "Print a script that has your shell complete commands, flags, scopes and rules", a.NoArgs
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// words completes words that are always the same.
func words(all ...string) completer {
	return func(*config.Config) []string { return all }
}

// scopeTypes are the types of scopes that can be blocked.
func scopeTypes(cfg *config.Config) []string { return slices.Clone(cfg.Policy.Blockable) }

// ruleNames are the configured rules, and the built-in ones.
func ruleNames(cfg *config.Config) []string {
	var names []string
	for i := range cfg.Rules {
		names = append(names, cfg.Rules[i].Name)
	}
	for _, b := range config.Builtins() {
		names = append(names, b.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// blockers are what a block can be by: a rule, or an operator.
func blockers(cfg *config.Config) []string { return append(ruleNames(cfg), operator.ManualRule) }

func streamNames(cfg *config.Config) []string { return slices.Clone(cfg.Stream.Names) }
