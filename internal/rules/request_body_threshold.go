package rules

import (
	"fmt"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

type requestBodyThresholdParams struct {
	MatchOptions `yaml:",inline"`

	Field     string   `yaml:"field"`
	Threshold number   `yaml:"threshold"`
	Paths     []string `yaml:"paths"`
	Decision  string   `yaml:"decision"`
}

// requestBodyThreshold matches requests with a number above the limit in their body. Numbers are
// compared exactly, as decimals.
type requestBodyThreshold struct {
	base
	field     string
	threshold decimal
	paths     paths
	decision  decision
}

func newRequestBodyThreshold(spec Spec, _ *shared) (Rule, error) {
	p := requestBodyThresholdParams{
		MatchOptions: MatchOptions{Severity: 8, Message: "Request body numeric threshold exceeded", Tags: []string{"request", "threshold"}},
		Field:        "amount", Threshold: "10000",
	}
	if err := decode(spec, &p, &p.MatchOptions, nil); err != nil {
		return nil, err
	}
	if err := checkDecision(p.Decision); err != nil {
		return nil, err
	}
	limit, ok := parseDecimal(string(p.Threshold))
	if !ok || limit.infinite || limit.beyond != "" {
		return nil, &ParamError{"threshold", fmt.Errorf("%q is not a decimal number", p.Threshold)}
	}
	compiled, err := compilePaths(p.Paths)
	if err != nil {
		return nil, err
	}
	return &requestBodyThreshold{
		base:  base{spec.Name, EventFilter{Types: []string{requestPre}}, p.MatchOptions, defaultCooldown},
		field: p.Field, threshold: limit, paths: compiled, decision: decision{string(Block), p.Decision},
	}, nil
}

func (r *requestBodyThreshold) Judge(e *event.Event, _ []int) (Match, bool) {
	if !r.paths.match(e.Text("url.path")) {
		return Match{}, false
	}
	text, ok := event.Text(r.value(e))
	if !ok {
		return Match{}, false
	}
	value, ok := parseDecimal(text)
	if !ok || value.compare(r.threshold) <= 0 {
		return Match{}, false
	}
	m := r.match(e.Scope(checker.ScopeIP), map[string]any{
		"field": r.field, "value": value.String(), "threshold": r.threshold.String(),
	})
	return r.decision.of(m), true
}

// value returns the field of the request's body, found by name or dotted path: in the object
// request.body, else the attribute request.body.<field>, else in the object body.
func (r *requestBodyThreshold) value(e *event.Event) any {
	if body, ok := e.Get("request.body"); ok {
		v, _ := event.Walk(body, r.field)
		return v
	}
	if v, ok := e.Get("request.body." + r.field); ok {
		return v
	}
	body, _ := e.Get("body")
	v, _ := event.Walk(body, r.field)
	return v
}

// Compares implements comparer.
func (r *requestBodyThreshold) Compares() []string {
	return []string{"request.body." + r.field, "body." + r.field}
}

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
