package rules

import (
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

type repeatedClientErrorParams struct {
	Said     `yaml:",inline"`
	Counting `yaml:",inline"`
}

// repeatedClientError matches client errors of an address that has too many.
type repeatedClientError struct {
	base
	threshold int
	errors    *window.Spec
}

func newRepeatedClientError(spec Spec, common *shared) (Rule, error) {
	p := repeatedClientErrorParams{
		Said:     Said{Severity: 6, Message: "Repeated HTTP client errors from source IP", Tags: []string{"http", "scan"}},
		Counting: Counting{Threshold: 20, Window: 5 * time.Minute},
	}
	if err := decode(spec, &p, &p.Said, &p.Counting); err != nil {
		return nil, err
	}
	return &repeatedClientError{
		base:      base{spec.Name, Wants{Types: []string{clientError}}, p.Said, p.Window},
		threshold: p.Threshold, errors: neverCleared(p.spec(spec.Name, common)),
	}, nil
}

func (r *repeatedClientError) Plan(e *event.Event, ops []window.Op) []window.Op {
	address := e.Scope(checker.ScopeIP)
	if address == "" {
		return ops
	}
	return append(ops, window.Op{Spec: r.errors, Group: address, Time: e.Time, Member: e.Member})
}

func (r *repeatedClientError) Judge(e *event.Event, counts []int) (Match, bool) {
	if len(counts) == 0 || counts[0] < r.threshold {
		return Match{}, false
	}
	return r.match(e.Scope(checker.ScopeIP), map[string]any{"error_count": counts[0]}), true
}
