package rules

import (
	"errors"
	"fmt"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
)

type distinctParams struct {
	MatchOptions `yaml:",inline"`
	Counting     `yaml:",inline"`

	GroupBy  []string `yaml:"group_by"`
	Distinct string   `yaml:"distinct"`
	Decision string   `yaml:"decision"`
}

// A distinct matches if one attribute has too many different values among the events that it
// selects in one group.
type distinct struct {
	*threshold
	attribute string
}

func newDistinct(spec Spec, common *shared) (Rule, error) {
	p := distinctParams{MatchOptions: MatchOptions{Severity: 5, Message: "Many different values"}}
	if err := decode(spec, &p, &p.MatchOptions, &p.Counting); err != nil {
		return nil, err
	}
	if p.Distinct == "" {
		return nil, &ParamError{"distinct", errors.New("is missing; name the attribute whose different values count")}
	}
	counts := thresholdParams{p.MatchOptions, p.Counting, p.GroupBy, p.Decision}
	counter, err := counts.rule(spec, common)
	if err != nil {
		return nil, err
	}
	counter.members.Latest, counter.members.Variant = true, p.variant(fmt.Sprint(p.GroupBy, p.Distinct))
	return &distinct{counter, p.Distinct}, nil
}

func (r *distinct) Plan(e *event.Event, ops []window.Op) []window.Op {
	return r.count(e, groupValue(e, r.attribute), ops)
}

// Unusable implements Explainer.
func (r *distinct) Unusable(e *event.Event) Reason {
	if reason := r.threshold.Unusable(e); reason != "" {
		return reason
	}
	return unusableValue(e, r.attribute)
}
