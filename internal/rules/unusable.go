package rules

import (
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A Reason is one word, for metrics, that says why a rule could not use an event. "" means that
// the rule could use it or does not apply to it.
type Reason string

// The reasons.
const (
	NoScope          Reason = "no_scope"          // no source.address to count by
	BadAddress       Reason = "bad_address"       // source.address is not an address
	MissingAttribute Reason = "missing_attribute" // the rule needs an attribute that the event lacks
	WrongShape       Reason = "wrong_shape"       // an attribute that the rule needs has the wrong type or value
	NoRule           Reason = "no_rule"           // no rule accepts events of the type
)

// An Explainer is a Rule that can say why it cannot use an event that passed its filter.
type Explainer interface {
	// Unusable returns why the rule cannot use e, for which Plan appended nothing, or "". It
	// is called for many valid events, so it must be fast for those.
	Unusable(e *event.Event) Reason
}

// unaddressed returns why an event has no ip scope, "" if it has one.
func unaddressed(e *event.Event) Reason {
	switch {
	case e.Scope(checker.ScopeIP) != "":
		return ""
	case strings.TrimSpace(e.Text("source.address")) == "":
		return NoScope
	}
	return BadAddress
}
