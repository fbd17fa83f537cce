package rules

import (
	"errors"
	"fmt"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
)

type thresholdParams struct {
	MatchOptions `yaml:",inline"`
	Counting     `yaml:",inline"`

	GroupBy  []string `yaml:"group_by"`
	Decision string   `yaml:"decision"`
}

// A threshold matches if the events that it selects reach the threshold in one group.
type threshold struct {
	base
	threshold int
	group     group
	decision  decision
	members   *window.Spec
}

func newThreshold(spec Spec, common *shared) (Rule, error) {
	p := thresholdParams{MatchOptions: MatchOptions{Severity: 5, Message: "Many such events"}}
	if err := decode(spec, &p, &p.MatchOptions, &p.Counting); err != nil {
		return nil, err
	}
	return p.rule(spec, common)
}

// rule checks the parameters and makes the rule.
func (p *thresholdParams) rule(spec Spec, common *shared) (*threshold, error) {
	if p.Where == nil {
		return nil, &ParamError{"where", errors.New("is missing; say which events count")}
	}
	if err := checkGroup(p.GroupBy); err != nil {
		return nil, err
	}
	if err := checkDecision(p.Decision); err != nil {
		return nil, err
	}
	members := neverCleared(p.spec(spec.Name, common))
	members.Variant = p.variant(fmt.Sprint(p.GroupBy))
	types := p.Where.EventTypes()
	return &threshold{
		base:      base{spec.Name, EventFilter{Any: len(types) == 0, Types: types}, p.MatchOptions, p.Window},
		threshold: p.Threshold, group: p.GroupBy, decision: decision{"", p.Decision}, members: members,
	}, nil
}

func (r *threshold) Plan(e *event.Event, ops []window.Op) []window.Op {
	return r.count(e, e.Member, ops)
}

// count counts a member in the event's group.
func (r *threshold) count(e *event.Event, member string, ops []window.Op) []window.Op {
	key := r.group.key(e)
	if key == "" || member == "" {
		return ops
	}
	return append(ops, window.Op{Spec: r.members, Group: key, Time: e.Time, Member: member})
}

func (r *threshold) Judge(e *event.Event, counts []int) (Match, bool) {
	if len(counts) == 0 || counts[0] < r.threshold {
		return Match{}, false
	}
	values := r.group.values(e)
	m := r.match(r.group.String(e), map[string]any{"count": counts[0], "group": values})
	return r.decision.of(m), true
}

// Unusable implements Explainer.
func (r *threshold) Unusable(e *event.Event) Reason { return r.group.unusable(e) }
