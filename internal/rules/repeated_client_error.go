package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

type repeatedClientErrorParams struct {
	MatchOptions `yaml:",inline"`
	Counting     `yaml:",inline"`

	IgnoreStatusCodes []int `yaml:"ignore_status_codes"`
}

// repeatedClientError matches client errors of an address that reached the threshold. A 401 that
// is followed by a success of the same address on the same route was an authentication challenge
// (Basic, Digest, DAV) and does not count.
type repeatedClientError struct {
	base
	threshold int
	ignored   []int
	errors    *window.Spec
}

// maxChallenged bounds the routes per address on which answered challenges are remembered.
const maxChallenged = 1024

const statusUnauthorized = "401"

func newRepeatedClientError(spec Spec, common *shared) (Rule, error) {
	p := repeatedClientErrorParams{
		MatchOptions: MatchOptions{Severity: 6, Message: "Repeated HTTP client errors from source IP", Tags: []string{"http", "scan"}},
		Counting:     Counting{Threshold: 20, Window: 5 * time.Minute},
		// 429: a rate limit, or one of our own blocks. 499: the client hung up.
		IgnoreStatusCodes: []int{429, 499},
	}
	if err := decode(spec, &p, &p.MatchOptions, &p.Counting); err != nil {
		return nil, err
	}
	for i, code := range p.IgnoreStatusCodes {
		if code < 100 || code > 599 {
			return nil, &ParamError{fmt.Sprintf("ignore_status_codes[%d]", i), fmt.Errorf("%d is not between 100 and 599", code)}
		}
	}
	errors := p.spec(spec.Name, common)
	errors.MaxClears, errors.RareTags = maxChallenged, true
	errors.Variant = p.variant(fmt.Sprint(p.IgnoreStatusCodes))
	return &repeatedClientError{
		base:      base{spec.Name, EventFilter{Types: []string{clientError, responseSuccess}}, p.MatchOptions, p.Window},
		threshold: p.Threshold, ignored: p.IgnoreStatusCodes, errors: errors,
	}, nil
}

func (r *repeatedClientError) Plan(e *event.Event, ops []window.Op) []window.Op {
	address := e.Scope(checker.ScopeIP)
	if address == "" {
		return ops
	}
	if e.Type == responseSuccess {
		return r.answer(e, address, ops)
	}
	status := strings.TrimSpace(e.Text("http.response.status_code"))
	if r.ignores(status) {
		return ops
	}
	op := window.Op{Spec: r.errors, Group: address, Time: e.Time, Member: e.Member}
	if status == statusUnauthorized {
		if route := routeOf(e); route != "" {
			op.Tag = challenge(route, e.Scope(checker.ScopeUsername))
		}
	}
	return append(ops, op)
}

func (r *repeatedClientError) ignores(status string) bool {
	code, err := strconv.Atoi(status)
	return err == nil && slices.Contains(r.ignored, code)
}

// answer appends clears for the challenges that a success answers: those on its route, or on
// its path if the 401 came before routing. A challenge to a named user is cleared only by a
// success of that user, so that an attacker cannot hide behind an account of their own.
func (r *repeatedClientError) answer(e *event.Event, address string, ops []window.Op) []window.Op {
	route, path, name := routeOf(e), strings.TrimSpace(e.Text("url.path")), e.Scope(checker.ScopeUsername)
	op := window.Op{Spec: r.errors, Group: address, Kind: window.Clear, Time: e.Time}
	if path == route {
		path = ""
	}
	for _, where := range [...]string{route, path} {
		if where == "" {
			continue
		}
		op.Tag = challenge(where, "")
		ops = append(ops, op)
		if name != "" {
			op.Tag = challenge(where, name)
			ops = append(ops, op)
		}
	}
	return ops
}

// challenge returns the tag of a 401 on a route; name is the user name given, or "". No two pairs
// have the same tag: one that is the route itself starts with a slash, all others with a digit.
func challenge(route, name string) string {
	if name == "" && strings.HasPrefix(route, "/") {
		return route // without an allocation, as nearly always
	}
	return strconv.Itoa(len(route)) + ":" + route + ":" + name
}

func (r *repeatedClientError) Judge(e *event.Event, counts []int) (Match, bool) {
	if len(counts) == 0 || e.Type != clientError || counts[0] < r.threshold {
		return Match{}, false
	}
	return r.match(e.Scope(checker.ScopeIP), map[string]any{"error_count": counts[0]}), true
}

// Unusable implements Explainer.
func (r *repeatedClientError) Unusable(e *event.Event) Reason {
	if e.Type != clientError {
		return ""
	}
	return unaddressed(e)
}
