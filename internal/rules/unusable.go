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

// Unusable implements Explainer. A success without a user name clears nothing.
func (r *bruteForceLogin) Unusable(e *event.Event) Reason {
	if reason := unaddressed(e); reason != "" {
		return reason
	}
	if e.Type == loginSuccess && r.clears == clearsUser && e.Scope(checker.ScopeUsername) == "" {
		return MissingAttribute
	}
	return ""
}

// Unusable implements Explainer.
func (r *loginThrottle) Unusable(e *event.Event) Reason {
	if r.paths.match(e.Text("url.path")) {
		return unaddressed(e)
	}
	return ""
}

// Unusable implements Explainer.
func (r *repeatedClientError) Unusable(e *event.Event) Reason {
	if e.Type != clientError {
		return ""
	}
	return unaddressed(e)
}

// Unusable implements Explainer.
func (r *repeatedRoute) Unusable(e *event.Event) Reason {
	if reason := unaddressed(e); reason != "" {
		return reason
	}
	if routeOf(e) == "" {
		return MissingAttribute
	}
	return ""
}

// Unusable implements Explainer. A response without a route, such as a 404, is valid: it has
// no resources to enumerate.
func (r *resourceEnumeration) Unusable(e *event.Event) Reason { return unaddressed(e) }

// Unusable implements Explainer. A request without the field is valid; one whose field is not
// a number is unusable.
func (r *requestBodyThreshold) Unusable(e *event.Event) Reason {
	if !r.paths.match(e.Text("url.path")) {
		return ""
	}
	value := r.value(e)
	if value == nil {
		if body, ok := e.Get("request.body"); ok {
			if text, isText := body.(string); isText && strings.TrimSpace(text) != "" {
				return WrongShape
			}
		}
		return ""
	}
	text, ok := event.Text(value)
	if !ok {
		return WrongShape
	}
	if _, ok := parseDecimal(text); !ok && strings.TrimSpace(text) != "" {
		return WrongShape
	}
	return ""
}

// Unusable implements Explainer.
func (r *sensitiveFieldChange) Unusable(e *event.Event) Reason {
	if len(r.labels) > 0 && !r.labels[strings.ToLower(e.Text("model_label"))] {
		return ""
	}
	if _, ok := e.Get("changed_fields"); !ok {
		return MissingAttribute
	}
	if _, ok := changedFields(e); !ok {
		return WrongShape
	}
	if r.actor != actorAny && (e.Scope(checker.ScopeUser) == "" || strings.TrimSpace(e.Text("object_id")) == "") {
		return MissingAttribute
	}
	return ""
}

// Unusable implements Explainer.
func (r *suspiciousProxyHeader) Unusable(e *event.Event) Reason {
	v, ok := e.Get("proxy_headers")
	if _, isObject := v.(map[string]any); !ok || isObject || v == "" {
		return ""
	}
	return WrongShape
}
