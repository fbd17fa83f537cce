// Package rules decides which events match. A rule first lists the window operations that an
// event needs (Plan); the window store counts for the whole batch in one round trip; the rule
// then judges the counts (Judge). Rules do no I/O, read no clock and keep no state. A compiled
// Set is immutable.
package rules

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/match"
	"github.com/wardstream/wardstream/internal/window"
)

// A Rule decides which of the events that pass its EventFilter match. Rules are immutable and
// safe for concurrent use.
type Rule interface {
	// Name is the rule's name in configuration, events and metrics.
	Name() string
	// EventFilter selects the event types that reach the rule.
	EventFilter() EventFilter
	// Selects reports whether an event that passes the filter is one that the configuration has the
	// rule evaluate.
	Selects(e *event.Event) bool
	// Plan appends the window operations that e needs to be judged.
	Plan(e *event.Event, ops []window.Op) []window.Op
	// Judge reports whether e matches. counts are the results of the operations that Plan
	// appended, in the same order.
	Judge(e *event.Event, counts []int) (Match, bool)
}

// An EventFilter selects event types: all of them, those in Types, or those that start with
// one of Prefixes.
type EventFilter struct {
	Any      bool
	Types    []string
	Prefixes []string
}

// A Match says that a rule's condition holds for an event.
type Match struct {
	Rule     string
	Severity int // 0 to 10
	Message  string
	// Observe is set if the rule only observes: nothing may be blocked.
	Observe bool
	// Decision is the action that the rule proposes, or "". Configured reports whether the
	// operator set it in the rule's configuration.
	Decision   string
	Configured bool
	Tags       []string
	Metadata   map[string]any
	// Subject is the object of the action, such as the ID of a changed model, or "".
	Subject string
	// Group identifies what the match is about. At most one alert is sent per rule and group
	// within Cooldown.
	Group    string
	Cooldown time.Duration
	// BlockTTL is the block duration that the match asks for; 0 leaves it to the policy.
	BlockTTL time.Duration
}

// The event types the built-in rules know.
const (
	loginFailed     = "auth.login.failed"
	loginSuccess    = "auth.login.success"
	requestPre      = "audit.http.request.pre"
	clientError     = "http.response.client_error"
	responseSuccess = "http.response.success"
	responsePrefix  = "http.response."
	modelUpdate     = "model.update"
	defaultCooldown = 5 * time.Minute
)

// base holds what every built-in rule has. It implements Rule except for Judge, for a rule
// without windows.
type base struct {
	name     string
	filter   EventFilter
	options  MatchOptions
	cooldown time.Duration
}

// MatchOptions are the parameters that all rules have: what is evaluated, and what a rule copies
// into its matches.
type MatchOptions struct {
	Severity int      `yaml:"severity"`
	Message  string   `yaml:"message"`
	Tags     []string `yaml:"tags"`
	// Mode is enforce, or observe: then what would have been blocked is reported in an alert
	// instead.
	Mode string `yaml:"mode" oneof:"observe|enforce"`
	// Where and Unless choose among the events that the rule evaluates: those that match Where, if
	// there is one, and do not match Unless. To the rule the others do not exist.
	Where  *match.Matcher `yaml:"where"`
	Unless *match.Matcher `yaml:"unless"`
	// Cooldown is the minimum time between two alerts about the same group; 0 means the
	// rule's default. The configuration enforces the range.
	Cooldown time.Duration `yaml:"cooldown" range:"1s..744h"`
}

// The modes of a rule.
const (
	modeEnforce = "enforce"
	modeObserve = "observe"
)

// variant returns the variant of a window that counts what the selections leave. A rule whose
// selections change begins anew: what others chose must not count.
func (o *MatchOptions) variant(own string) string {
	if o.Where == nil && o.Unless == nil {
		return own
	}
	var sources [2]any
	for i, m := range []*match.Matcher{o.Where, o.Unless} {
		if m != nil {
			sources[i] = m.Source()
		}
	}
	text, _ := json.Marshal(sources) // of plain values, which always can be
	return own + string(text)
}

func (b *base) Name() string { return b.name }

func (b *base) EventFilter() EventFilter { return b.filter }

// Selects implements Rule.
func (b *base) Selects(e *event.Event) bool {
	where, unless := b.options.Where, b.options.Unless
	return (where == nil || where.Match(e)) && (unless == nil || !unless.Match(e))
}

func (b *base) Plan(_ *event.Event, ops []window.Op) []window.Op { return ops }

func (b *base) match(group string, metadata map[string]any) Match {
	return Match{
		Rule: b.name, Observe: b.options.Mode == modeObserve, Severity: b.options.Severity, Message: b.options.Message, Tags: b.options.Tags,
		Metadata: metadata, Group: group, Cooldown: cmp.Or(b.options.Cooldown, b.cooldown),
	}
}
