package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

type sensitiveFieldChangeParams struct {
	MatchOptions `yaml:",inline"`

	Fields      []string `yaml:"fields"`
	ModelLabels []string `yaml:"model_labels"`
	Actor       string   `yaml:"actor"`
}

// Whose changes sensitive_field_change matches.
const (
	actorSelf  = "self"  // of the actor's own record
	actorOther = "other" // changes to another user's record
	actorAny   = "any"
)

// sensitiveFieldChange matches model updates that change one of the configured fields.
type sensitiveFieldChange struct {
	base
	fields map[string]bool // lower case
	labels map[string]bool // lower case; empty: every model
	actor  string
}

func newSensitiveFieldChange(spec Spec, _ *shared) (Rule, error) {
	p := sensitiveFieldChangeParams{
		MatchOptions: MatchOptions{Severity: 7, Message: "Sensitive model fields were changed", Tags: []string{"model", "sensitive-change"}},
		Actor:        actorAny,
	}
	if err := decode(spec, &p, &p.MatchOptions, nil); err != nil {
		return nil, err
	}
	if len(p.Fields) == 0 {
		return nil, &ParamError{"fields", errors.New("is empty, so the rule could never match")}
	}
	switch p.Actor {
	case actorSelf, actorOther, actorAny:
	default:
		return nil, &ParamError{"actor", fmt.Errorf("%q is not one of self, other, any", p.Actor)}
	}
	return &sensitiveFieldChange{
		base:   base{spec.Name, EventFilter{Types: []string{modelUpdate}}, p.MatchOptions, defaultCooldown},
		fields: lowered(p.Fields), labels: lowered(p.ModelLabels), actor: p.Actor,
	}, nil
}

func lowered(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[strings.ToLower(n)] = true
	}
	return out
}

func (r *sensitiveFieldChange) Judge(e *event.Event, _ []int) (Match, bool) {
	label := strings.ToLower(e.Text("model_label"))
	if len(r.labels) > 0 && !r.labels[label] || !r.byActor(e) {
		return Match{}, false
	}
	touched := map[string]bool{}
	changed, _ := changedFields(e)
	for _, name := range changed {
		if name = strings.ToLower(name); r.fields[name] {
			touched[name] = true
		}
	}
	if len(touched) == 0 {
		return Match{}, false
	}
	group := e.Scope(checker.ScopeUser) + " " + e.Scope(checker.ScopeSession) + " " + label
	m := r.match(group, map[string]any{"changed_fields": slices.Sorted(maps.Keys(touched)), "model_label": label})
	m.Subject = e.Text("object_id")
	return m, true
}

// byActor reports whether the user who made the change is the kind the rule is configured for. If
// actor or object is unknown, neither self nor other matches.
func (r *sensitiveFieldChange) byActor(e *event.Event) bool {
	if r.actor == actorAny {
		return true
	}
	actor, object := e.Scope(checker.ScopeUser), strings.TrimSpace(e.Text("object_id"))
	return actor != "" && object != "" && (actor == object) == (r.actor == actorSelf)
}

// Compares implements comparer.
func (r *sensitiveFieldChange) Compares() []string {
	return []string{"changed_fields", "model_label", "object_id"}
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
