// Package rules decides which events match. A rule first says which windows an
// event touches (Plan), the window store counts for a whole batch at once, and
// the rule then judges the counts (Judge). Rules do no I/O, read no clock and
// keep no state; a compiled Set is immutable.
package rules

import (
	"cmp"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
)

// A Rule looks at the events it asked for and says which of them match. Rules
// are immutable and safe for concurrent use.
type Rule interface {
	// Name is the rule's name in configuration, events and metrics.
	Name() string
	// Wants says which event types reach the rule.
	Wants() Wants
	// Plan appends the window operations that e needs to be judged.
	Plan(e *event.Event, ops []window.Op) []window.Op
	// Judge is given the counts of what Plan appended, in the same order, and
	// reports whether e matches.
	Judge(e *event.Event, counts []int) (Match, bool)
}

// Wants selects event types: any, those listed, or those that start so.
type Wants struct {
	Any      bool
	Types    []string
	Prefixes []string
}

// A Match says that a rule's condition holds for an event.
type Match struct {
	Rule     string
	Severity int // 0 to 10
	Message  string
	// Decision is the action the rule itself proposes, or "". Configured says
	// that the operator gave the rule this decision.
	Decision   string
	Configured bool
	Tags       []string
	Metadata   map[string]any
	// Subject is what was acted on, such as an object's id, or "".
	Subject string
	// Group is what the match is about. Its alert comes once per rule, group
	// and Cooldown.
	Group    string
	Cooldown time.Duration
	// BlockTTL is the length of block the match asks for; 0 is no opinion.
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

// A base is what every built-in rule has: its name, what its matches say, and
// what it wants. It implements the part of Rule that needs no windows.
type base struct {
	name     string
	wants    Wants
	said     Said
	cooldown time.Duration
}

// Said is the part of a rule's parameters that its matches repeat.
type Said struct {
	Severity int      `yaml:"severity"`
	Message  string   `yaml:"message"`
	Tags     []string `yaml:"tags"`
	// Cooldown is the least time between two alerts about one group; 0 is the
	// rule's own choice. Configuration holds it to the range.
	Cooldown time.Duration `yaml:"cooldown" range:"1s..744h"`
}

func (b *base) Name() string { return b.name }

func (b *base) Wants() Wants { return b.wants }

func (b *base) Plan(_ *event.Event, ops []window.Op) []window.Op { return ops }

func (b *base) match(group string, metadata map[string]any) Match {
	return Match{
		Rule: b.name, Severity: b.said.Severity, Message: b.said.Message, Tags: b.said.Tags,
		Metadata: metadata, Group: group, Cooldown: cmp.Or(b.said.Cooldown, b.cooldown),
	}
}
