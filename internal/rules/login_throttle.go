package rules

import (
	"fmt"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

type loginThrottleParams struct {
	MatchOptions `yaml:",inline"`

	Threshold int      `yaml:"threshold"`
	Paths     []string `yaml:"paths"`
}

// loginThrottle matches requests to a login page from an address whose
// brute_force_login window is full. It counts nothing itself, so without
// brute_force_login it never matches.
type loginThrottle struct {
	base
	threshold int
	paths     paths
	failures  *window.Spec
}

func newLoginThrottle(spec Spec, common *shared) (Rule, error) {
	p := loginThrottleParams{
		MatchOptions: MatchOptions{Severity: 8, Message: "Login temporarily throttled after repeated failures", Tags: []string{"auth", "throttle"}},
		Threshold:    5,
		Paths:        []string{"/login"},
	}
	if err := decode(spec, &p, &p.MatchOptions, nil); err != nil {
		return nil, err
	}
	if p.Threshold < 1 || p.Threshold > maxThreshold {
		return nil, &ParamError{"threshold", fmt.Errorf("%d is not between 1 and %d", p.Threshold, maxThreshold)}
	}
	compiled, err := compilePaths(p.Paths)
	if err != nil {
		return nil, err
	}
	common.failures.Threshold = max(common.failures.Threshold, p.Threshold)
	return &loginThrottle{
		base:      base{spec.Name, EventFilter{Types: []string{requestPre}}, p.MatchOptions, defaultCooldown},
		threshold: p.Threshold, paths: compiled, failures: common.failures,
	}, nil
}

func (r *loginThrottle) Plan(e *event.Event, ops []window.Op) []window.Op {
	address := e.Scope(checker.ScopeIP)
	if address == "" || r.failures.Length == 0 || !r.paths.match(e.Text("url.path")) {
		return ops
	}
	return append(ops, window.Op{Spec: r.failures, Group: address, Kind: window.Read, Time: e.Time, Threshold: r.threshold})
}

func (r *loginThrottle) Judge(e *event.Event, counts []int) (Match, bool) {
	if len(counts) == 0 || counts[0] < r.threshold {
		return Match{}, false
	}
	m := r.match(e.Scope(checker.ScopeIP), map[string]any{"failure_count": counts[0]})
	m.Decision = string(Block)
	return m, true
}

// Unusable implements Explainer.
func (r *loginThrottle) Unusable(e *event.Event) Reason {
	if r.paths.match(e.Text("url.path")) {
		return unaddressed(e)
	}
	return ""
}
