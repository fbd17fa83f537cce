package rules

import (
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

type resourceEnumerationParams struct {
	MatchOptions `yaml:",inline"`
	Counting     `yaml:",inline"`

	Decision string `yaml:"decision"`
}

// resourceEnumeration matches responses to an address that requested too many different paths
// of one route.
type resourceEnumeration struct {
	base
	threshold int
	decision  decision
	paths     *window.Spec
}

func newResourceEnumeration(spec Spec, common *shared) (Rule, error) {
	p := resourceEnumerationParams{
		MatchOptions: MatchOptions{Severity: 7, Message: "Many distinct resources accessed under one route", Tags: []string{"http", "enumeration"}},
		Counting:     Counting{Threshold: 20, Window: 5 * time.Minute},
	}
	if err := decode(spec, &p, &p.MatchOptions, &p.Counting); err != nil {
		return nil, err
	}
	if err := checkDecision(p.Decision); err != nil {
		return nil, err
	}
	distinct := neverCleared(p.spec(spec.Name, common))
	distinct.Latest, distinct.Variant = true, p.variant("")
	return &resourceEnumeration{
		base:      base{spec.Name, EventFilter{Prefixes: []string{responsePrefix}}, p.MatchOptions, p.Window},
		threshold: p.Threshold, decision: decision{"", p.Decision}, paths: distinct,
	}, nil
}

// visited returns the route and path of e, "" for each that is unknown.
func visited(e *event.Event) (route, path string) {
	return strings.TrimSpace(e.Text("http.route")), e.Text("url.path")
}

// Plan skips static routes, where path and route are equal: there is nothing to enumerate, and
// most responses are of that kind.
func (r *resourceEnumeration) Plan(e *event.Event, ops []window.Op) []window.Op {
	address := e.Scope(checker.ScopeIP)
	route, path := visited(e)
	if address == "" || route == "" || path == "" || path == route {
		return ops
	}
	return append(ops, window.Op{Spec: r.paths, Group: address + " " + route, Time: e.Time, Member: path})
}

func (r *resourceEnumeration) Judge(e *event.Event, counts []int) (Match, bool) {
	route, path := visited(e)
	if route == "" || path == "" {
		return Match{}, false
	}
	distinct := 1 // the path at hand, where there was nothing to count by
	if len(counts) > 0 {
		distinct = counts[0]
	}
	if distinct < r.threshold {
		return Match{}, false
	}
	m := r.match(e.Scope(checker.ScopeIP)+" "+route, map[string]any{"distinct_paths": distinct, "route": route})
	return r.decision.of(m), true
}

// Unusable implements Explainer. A response without a route, such as a 404, is valid: it has
// no resources to enumerate.
func (r *resourceEnumeration) Unusable(e *event.Event) Reason { return unaddressed(e) }
