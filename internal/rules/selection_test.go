package rules_test

import (
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestWhereAndUnlessChooseEvents: what a selection leaves out is not counted, and clears nothing.
func TestWhereAndUnlessChooseEvents(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("brute_force_login", "{threshold: 2, where: {http.request.method: POST}, unless: {user.name|startswith: probe}}"))
	post := func(fields []string) []string { return append(fields, "http.request.method", "post") }
	d.want(d.at(0, post(failure("203.0.113.9", "eve"))...))
	d.want(d.at(1, failure("203.0.113.9", "eve")...))
	d.want(d.at(2, post(failure("203.0.113.9", "Probe7"))...))
	d.want(d.at(3, success("203.0.113.9", "eve")...))
	d.want(d.at(4, post(failure("203.0.113.9", "eve"))...), "brute_force_login")
}

func TestUnlessListOfNumbers(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("repeated_client_error", "{threshold: 1, unless: {http.response.status_code: [401, 429, 499]}}"))
	answer := func(status string) []string {
		return []string{"event_type", "http.response.client_error", "source.address", "203.0.113.9", "http.response.status_code", status}
	}
	for _, status := range []string{"401", "429", "499"} {
		d.want(d.at(0, answer(status)...))
	}
	d.want(d.at(1, answer("404")...), "repeated_client_error")
}

// TestRulesOfOneTypeCountApart: each has its own threshold, window and name, and login_throttle
// reads the first.
func TestRulesOfOneTypeCountApart(t *testing.T) {
	t.Parallel()
	slow, throttle := spec("slow_guessing", "{threshold: 3, window: 24h}"), spec("login_throttle", "{threshold: 2}")
	slow.Type = "brute_force_login"
	for name, specs := range map[string][]rules.Spec{
		"throttle last":  {spec("brute_force_login", "{threshold: 2, window: 1m}"), slow, throttle},
		"throttle first": {throttle, spec("brute_force_login", "{threshold: 2, window: 1m}"), slow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := detect(t, specs...)
			request := []string{"event_type", "audit.http.request.pre", "source.address", "203.0.113.9", "url.path", "/login"}
			d.want(d.at(0, failure("203.0.113.9", "eve")...))
			d.want(d.at(1, failure("203.0.113.9", "eve")...), "brute_force_login")
			d.want(d.at(2, request...), "login_throttle")
			d.want(d.at(1000, request...))
			d.want(d.at(1001, failure("203.0.113.9", "eve")...), "slow_guessing")
		})
	}
}

// TestWindowBeginsAnewIfSelectionsChange: what another selection chose does not count.
func TestWindowBeginsAnewIfSelectionsChange(t *testing.T) {
	t.Parallel()
	ids := map[string]string{}
	for _, params := range []string{"{}", "{where: {a: x}}", "{where: {a: y}}", "{unless: {a: x}}"} {
		for _, name := range []string{"brute_force_login", "repeated_client_error", "repeated_route", "resource_enumeration"} {
			built, _, err := rules.Build([]rules.Spec{spec(name, params)}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			ops := built[0].Plan(full(built[0].EventFilter()), nil)
			if len(ops) == 0 {
				t.Fatalf("%s %s counts nothing", name, params)
			}
			if other := ids[ops[0].Spec.ID()]; other != "" {
				t.Errorf("%s with %s continues the window of %s", name, params, other)
			}
			ids[ops[0].Spec.ID()] = params
		}
	}
}

// full is an event with all that the counting rules need.
func full(filter rules.EventFilter) *event.Event {
	return &event.Event{
		Type: append(filter.Types, "http.response.success")[0], Member: "1", Scopes: []checker.Scope{{Type: checker.ScopeIP, Value: "203.0.113.9"}},
		Attrs: []event.Attr{
			event.TextAttr("http.route", "/a/<id>"), event.TextAttr("url.path", "/a/1"), event.TextAttr("http.response.status_code", "404"),
		},
	}
}

// TestObservingRuleSaysSo: a match of a rule in observe mode must not block.
func TestObservingRuleSaysSo(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]bool{"{threshold: 1}": false, "{threshold: 1, mode: enforce}": false, "{threshold: 1, mode: observe}": true} {
		d := detect(t, spec("brute_force_login", params))
		matches := d.at(0, failure("203.0.113.9", "eve")...)
		if d.want(matches, "brute_force_login"); matches[0].Observe != want {
			t.Errorf("%s: observe %t", params, matches[0].Observe)
		}
	}
}

// TestChoosingRulesAllocatesNothing: it is done for every event.
func TestChoosingRulesAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations are counted
	d := detect(t, spec("brute_force_login", "{where: {user.name|startswith: ev}}"))
	e, err := d.decoder.Decode("s", "1-1", failure("203.0.113.9", "Eve"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	allocations := testing.AllocsPerRun(100, func() {
		for range d.set.For(&e) {
			n++
		}
	})
	if allocations != 0 || n == 0 {
		t.Errorf("%v allocations, %d rules", allocations, n)
	}
}
