package rules

import (
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

type repeatedRouteParams struct {
	MatchOptions `yaml:",inline"`
	Counting     `yaml:",inline"`

	Paths    []string       `yaml:"paths"`
	Decision string         `yaml:"decision"`
	BlockTTL *time.Duration `yaml:"block_ttl" range:"1s..8760h"`
}

// repeatedRoute matches requests of an address to one route that reached the threshold.
type repeatedRoute struct {
	base
	threshold int
	paths     paths
	decision  decision
	blockTTL  *time.Duration
	requests  *window.Spec
}

func newRepeatedRoute(spec Spec, common *shared) (Rule, error) {
	p := repeatedRouteParams{
		MatchOptions: MatchOptions{Severity: 7, Message: "Repeated requests to a monitored route", Tags: []string{"http", "route-abuse"}},
		Counting:     Counting{Threshold: 10, Window: 5 * time.Minute},
	}
	if err := decode(spec, &p, &p.MatchOptions, &p.Counting); err != nil {
		return nil, err
	}
	if err := checkDecision(p.Decision); err != nil {
		return nil, err
	}
	compiled, err := compilePaths(p.Paths)
	if err != nil {
		return nil, err
	}
	requests := neverCleared(p.spec(spec.Name, common))
	requests.Variant = p.variant("")
	return &repeatedRoute{
		base:      base{spec.Name, EventFilter{Types: []string{requestPre}}, p.MatchOptions, p.Window},
		threshold: p.Threshold, paths: compiled, decision: decision{string(TempBlock), p.Decision}, blockTTL: p.BlockTTL,
		requests: requests,
	}, nil
}

// routeOf returns the route's name, else its pattern, else the request's path.
func routeOf(e *event.Event) string {
	for _, name := range [...]string{"http.route_name", "http.route", "url.path"} {
		if text := e.Text(name); text != "" {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

func (r *repeatedRoute) Plan(e *event.Event, ops []window.Op) []window.Op {
	address, route := e.Scope(checker.ScopeIP), routeOf(e)
	if address == "" || route == "" || !r.paths.match(e.Text("url.path")) {
		return ops
	}
	return append(ops, window.Op{Spec: r.requests, Group: address + " " + route, Time: e.Time, Member: e.Member})
}

func (r *repeatedRoute) Judge(e *event.Event, counts []int) (Match, bool) {
	if len(counts) == 0 || counts[0] < r.threshold {
		return Match{}, false
	}
	route := routeOf(e)
	m := r.match(e.Scope(checker.ScopeIP)+" "+route, map[string]any{"request_count": counts[0], "route": route})
	m = r.decision.of(m)
	if r.blockTTL != nil {
		m.BlockTTL = *r.blockTTL
		m.Metadata["block_ttl"] = int(r.blockTTL.Seconds())
	}
	return m, true
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
