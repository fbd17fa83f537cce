package detectorcli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/spelling"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/pkg/checker"
)

func (a app) rulesCommand() *cobra.Command {
	return a.Group("rules", "Show the rules that run", a.rulesListCommand())
}

func (a app) rulesListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list [RULE...]",
		Short: "List rules, what they look at and what follows from a match",
		Long: `Lists the rules that the configuration names, in their order: the event types they look at, their
parameters, and the action that results from actions, block_rules, decisions and defaults. With
--all it lists every built-in rule with its defaults, whether it is configured or not. With names
it lists those alone.`,
		Example: "  detector rules list\n  detector rules list brute_force_login\n  detector rules list --all -o json",
	}
	cmd.Flags().BoolVar(&all, "all", false, "list all built-in rules with their defaults")
	output := cli.OutputFlag(cmd)
	a.completeAll(cmd, ruleNames)
	return a.configured(cmd, pick("mode"), func(_ context.Context, cfg *config.Config, args []string) error {
		views := configuredRules(cfg)
		if all {
			views = builtinRules(cfg)
		}
		views, err := named(views, args)
		if err != nil {
			return err
		}
		return a.Print(*output, views, func(w io.Writer) { a.writeRules(w, views, cfg.Mode) })
	})
}

// named returns the views of the named rules in their order, or all if none is named.
func named(views []ruleView, names []string) ([]ruleView, error) {
	if len(names) == 0 {
		return views, nil
	}
	known := make([]string, len(views))
	for i, v := range views {
		known[i] = v.Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q is not a rule that is listed%s; detector rules list --all shows what there is", cli.Clip(name), spelling.Suggestion(name, known))
		}
	}
	return slices.DeleteFunc(views, func(v ruleView) bool { return !slices.Contains(names, v.Name) }), nil
}

// A ruleView is a rule as it is printed.
type ruleView struct {
	Name       string                   `json:"name"`
	Type       string                   `json:"type,omitempty"` // unless the name says it
	Configured bool                     `json:"configured"`
	Events     []string                 `json:"events"` // "*" stands for any end
	Severity   int                      `json:"severity"`
	Parameters map[string]any           `json:"parameters"`
	Action     string                   `json:"action"`
	Scopes     []string                 `json:"scopes,omitempty"` // that are blocked
	TTL        string                   `json:"ttl,omitempty"`    // of the block; none if it is permanent
	order      []string                 // of the parameters
	lengths    map[string]time.Duration // those of the parameters that are durations
	ttl        time.Duration
}

func configuredRules(cfg *config.Config) []ruleView {
	views := make([]ruleView, len(cfg.Rules))
	for i := range cfg.Rules {
		views[i] = ruleViewOf(&cfg.Rules[i], cfg.RuleSet.Rules()[i].EventFilter(), cfg.Policy)
		views[i].Configured = true
	}
	return views
}

// builtinRules are the rules as they would be without a configuration of theirs.
func builtinRules(cfg *config.Config) []ruleView {
	builtins := config.Builtins()
	views := make([]ruleView, len(builtins))
	policy := enforce.Policy{
		Defaults: enforce.BuiltinActions(), Fallback: cfg.Policy.Fallback, DefaultTTL: cfg.Policy.DefaultTTL, Blockable: cfg.Policy.Blockable,
	}
	for i := range builtins {
		views[i] = ruleViewOf(&builtins[i].Rule, builtins[i].EventFilter, &policy)
		views[i].Configured = slices.ContainsFunc(cfg.Rules, func(r config.Rule) bool { return r.Name == builtins[i].Name })
	}
	return views
}

func ruleViewOf(r *config.Rule, filter rules.EventFilter, policy *enforce.Policy) ruleView {
	v := ruleView{Name: r.Name, Events: eventsOf(filter), Parameters: map[string]any{}, lengths: map[string]time.Duration{}}
	if r.Type != r.Name {
		v.Type = r.Type
	}
	var m rules.Match
	for _, p := range r.Params() {
		switch value := p.Value.(type) {
		case nil:
			continue
		case time.Duration:
			v.Parameters[p.Key], v.lengths[p.Key] = strictconfig.FormatDuration(value), value
			if p.Key == "block_ttl" {
				m.BlockTTL = value
			}
		default:
			v.Parameters[p.Key] = value
		}
		v.order = append(v.order, p.Key)
	}
	v.Severity, _ = v.Parameters["severity"].(int)
	m.Rule, m.Severity = r.Name, v.Severity
	m.Decision, _ = v.Parameters["decision"].(string)
	m.Configured = m.Decision != ""
	v.resolve(policy, m)
	return v
}

func eventsOf(w rules.EventFilter) []string {
	if w.Any {
		return []string{"*"}
	}
	events := slices.Clone(w.Types)
	for _, prefix := range w.Prefixes {
		events = append(events, prefix+"*")
	}
	return events
}

// resolve asks the policy what follows from a match of an event that has every scope. Whom the
// allowlist names, and whether anything is blocked at all, does not depend on the rule.
func (v *ruleView) resolve(policy *enforce.Policy, m rules.Match) {
	p := *policy
	p.Allowlist, p.DryRun = nil, false
	e := event.Event{Time: time.Unix(0, 0)}
	for _, typ := range p.Blockable {
		e.Scopes = append(e.Scopes, checker.Scope{Type: typ, Value: "x"})
	}
	d := p.Resolve(&e, m)
	v.Action = string(d.Action)
	for _, b := range d.Blocks {
		v.Scopes = append(v.Scopes, b.Scope.Type)
		if !b.Permanent() {
			v.ttl = b.ExpiresAt.Sub(e.Time)
			v.TTL = strictconfig.FormatDuration(v.ttl)
		}
	}
}

func (a app) writeRules(w io.Writer, views []ruleView, mode string) {
	if len(views) == 0 {
		_, _ = fmt.Fprintln(w, "no rules are configured, so nothing is detected; detector rules list --all shows what there is")
		return
	}
	rows := make([][]string, len(views))
	for i, v := range views {
		rows[i] = []string{v.Name, strings.Join(v.Events, ","), v.parameters(), v.action(mode)}
	}
	a.Table(w, []string{"RULE", "EVENTS", "PARAMETERS", "ACTION"}, rows, "PARAMETERS", "EVENTS", "ACTION")
}

// parameters are those that say when the rule matches.
func (v ruleView) parameters() string {
	said := []string{"message", "tags", "cooldown", "mode"}
	var out []string
	if v.Type != "" {
		out = append(out, "type="+v.Type)
	}
	for _, key := range v.order {
		text := shown(v.Parameters[key])
		if list, ok := v.Parameters[key].([]string); ok {
			text = strings.Join(list, ",")
		}
		if d, ok := v.lengths[key]; ok {
			text = exact(d)
		}
		if text != "" && !slices.Contains(said, key) {
			out = append(out, key+"="+text)
		}
	}
	return strings.Join(out, " ")
}

func (v ruleView) action(mode string) string {
	text := v.Action
	if len(v.Scopes) > 0 {
		text += " " + strings.Join(v.Scopes, ",")
	}
	if v.TTL != "" {
		text += " " + exact(v.ttl)
	}
	if (mode == "observe" || v.Parameters["mode"] == "observe") && len(v.Scopes) > 0 {
		text += " (observed only)"
	}
	return text
}

// shown returns a parameter in one line. A selection is written as it may stand in the
// configuration.
func shown(parameter any) string {
	switch parameter.(type) {
	case map[string]any, []any:
		if text, err := json.Marshal(parameter); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(parameter)
}
