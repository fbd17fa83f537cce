package rules

import (
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Which failures of an address a successful login clears.
const (
	clearsUser    = "user"    // those of the same user name
	clearsAddress = "address" // all, so that one valid account can hide an attack
	clearsNever   = "never"
)

type bruteForceLoginParams struct {
	MatchOptions `yaml:",inline"`
	Counting     `yaml:",inline"`

	SuccessClears string `yaml:"success_clears"`
}

// bruteForceLogin matches login failures of an address that reached the threshold.
type bruteForceLogin struct {
	base
	threshold int
	clears    string
	failures  *window.Spec
}

func newBruteForceLogin(spec Spec, common *shared) (Rule, error) {
	p := bruteForceLoginParams{
		MatchOptions:  MatchOptions{Severity: 8, Message: "Repeated login failures detected", Tags: []string{"auth", "bruteforce"}},
		Counting:      Counting{Threshold: 5, Window: 5 * time.Minute},
		SuccessClears: clearsUser,
	}
	if err := decode(spec, &p, &p.MatchOptions, &p.Counting); err != nil {
		return nil, err
	}
	switch p.SuccessClears {
	case clearsUser, clearsAddress, clearsNever:
	default:
		return nil, &ParamError{"success_clears", fmt.Errorf("%q is not one of user, address, never", p.SuccessClears)}
	}
	failures := p.spec(spec.Name, common)
	failures.Variant = p.variant(p.SuccessClears)
	failures.ClearsAll = p.SuccessClears == clearsAddress
	if p.SuccessClears == clearsNever {
		failures.MaxClears = window.NeverCleared
	}
	if common.failures.Length == 0 { // the first: login_throttle reads its window
		failures.Threshold = max(failures.Threshold, common.failures.Threshold)
		*common.failures = *failures
		failures = common.failures
	}
	return &bruteForceLogin{
		base:      base{spec.Name, EventFilter{Types: []string{loginFailed, loginSuccess}}, p.MatchOptions, p.Window},
		threshold: p.Threshold, clears: p.SuccessClears, failures: failures,
	}, nil
}

func (r *bruteForceLogin) Plan(e *event.Event, ops []window.Op) []window.Op {
	address := e.Scope(checker.ScopeIP)
	if address == "" {
		return ops
	}
	op := window.Op{Spec: r.failures, Group: address, Time: e.Time, Tag: e.Scope(checker.ScopeUsername), Threshold: r.threshold}
	switch {
	case e.Type == loginFailed:
		op.Kind, op.Member = window.Add, e.Member
	case r.clears == clearsNever, r.clears == clearsUser && op.Tag == "":
		return ops
	default:
		op.Kind = window.Clear
		if r.clears == clearsAddress {
			op.Tag = ""
		}
	}
	return append(ops, op)
}

func (r *bruteForceLogin) Judge(e *event.Event, counts []int) (Match, bool) {
	if len(counts) == 0 || e.Type != loginFailed || counts[0] < r.threshold {
		return Match{}, false
	}
	name := e.Text("actor")
	if name == "" {
		name = e.Text("user.name")
	}
	return r.match(e.Scope(checker.ScopeIP), map[string]any{"failure_count": counts[0], "username": name}), true
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
