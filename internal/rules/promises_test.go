package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/pkg/checker"
)

// visitor is an event of one address, on a path and route of its own.
func visitor(typ string, n int) []string {
	return []string{
		"event_type", typ, "source.address", "203.0.113.9", "user.name", "eve", "http.route", "/u/<id>", "url.path", fmt.Sprint("/u/", n),
		"request.body.amount", "10000.01", "changed_fields", "email", "proxy_headers", `{"X-Real-IP": "198.51.100.1"}`,
	}
}

// TestDefaults: severity, threshold, window, decision and cooldown of each rule without any
// configuration.
func TestDefaults(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		typ       string
		severity  int
		threshold int // events until it fires, of a rule that counts
		decision  string
		cooldown  time.Duration
	}{
		"brute_force_login":       {"auth.login.failed", 8, 5, "", 5 * time.Minute},
		"repeated_client_error":   {"http.response.client_error", 6, 20, "", 5 * time.Minute},
		"repeated_route":          {"audit.http.request.pre", 7, 10, "temp_block", 5 * time.Minute},
		"request_body_threshold":  {"audit.http.request.pre", 8, 1, "block", 5 * time.Minute},
		"resource_enumeration":    {"http.response.success", 7, 20, "", 5 * time.Minute},
		"sensitive_field_change":  {"model.update", 7, 1, "", 5 * time.Minute},
		"suspicious_proxy_header": {"x", 6, 1, "", 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			params := ""
			if name == "sensitive_field_change" {
				params = "fields: [email]"
			}
			d := detect(t, spec(name, params))
			for n := 1; n < want.threshold; n++ {
				d.want(d.at(0, visitor(want.typ, n)...))
			}
			matches := d.at(299.999, visitor(want.typ, 0)...)
			d.want(matches, name)
			if m := matches[0]; m.Severity != want.severity || m.Decision != want.decision || m.Configured || m.Cooldown != want.cooldown || m.BlockTTL != 0 {
				t.Errorf("match %+v", m)
			}
			if want.threshold == 1 {
				return
			}
			d = detect(t, spec(name, params))
			for n := 1; n < want.threshold; n++ {
				d.at(0, visitor(want.typ, n)...)
			}
			d.want(d.at(300, visitor(want.typ, 0)...)) // the window is five minutes long
		})
	}
}

func TestLoginThrottleDefaults(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("brute_force_login", "threshold: 6"), spec("login_throttle", ""))
	request := []string{"event_type", "audit.http.request.pre", "source.address", "203.0.113.9", "url.path"}
	for n := range 5 {
		d.want(d.at(1, append(request, "/login")...))
		d.want(d.at(0, visitor("auth.login.failed", n)...))
	}
	d.want(d.at(2, append(request, "/signin")...))
	matches := d.at(299.999, append(request, "/login")...)
	d.want(matches, "login_throttle")
	if m := matches[0]; m.Severity != 8 || m.Decision != "block" || m.Cooldown != 5*time.Minute {
		t.Errorf("match %+v", m)
	}
	d.want(d.at(300, append(request, "/login")...)) // the window is brute_force_login's
}

// TestRulesAcceptTheirEventTypes: each rule is given its own event types. An unknown type reaches
// only the rule that accepts all types.
func TestRulesAcceptTheirEventTypes(t *testing.T) {
	t.Parallel()
	specs := make([]rules.Spec, 0, len(rules.Names()))
	for _, name := range rules.Names() {
		params := ""
		if name == "sensitive_field_change" {
			params = "fields: [email]"
		}
		specs = append(specs, spec(name, params))
	}
	set := detect(t, specs...).set
	const anyType = "suspicious_proxy_header"
	for typ, want := range map[string]string{
		"auth.login.failed": "brute_force_login", "auth.login.success": "brute_force_login", "auth.logout.user": "",
		"http.response.success": "repeated_client_error resource_enumeration", "http.response.redirect": "resource_enumeration", "http.response.server_error": "resource_enumeration",
		"http.response.client_error": "repeated_client_error resource_enumeration",
		"audit.http.request.pre":     "login_throttle repeated_route request_body_threshold",
		"model.update":               "sensitive_field_change", "model.create": "", "model.delete": "", "model.access": "", "shop.order.placed": "",
	} {
		var got []string
		all := slices.Collect(set.For(&event.Event{Type: typ}))
		for _, r := range all {
			if r.Name() != anyType {
				got = append(got, r.Name())
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want || len(all) != len(got)+1 {
			t.Errorf("%s is seen by %v, want %s and %s", typ, got, want, anyType)
		}
	}
}

// TestEventPublishedTwiceCountsOnce: an event that a producer sent as two entries counts once.
func TestEventPublishedTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	for name, typ := range map[string]string{
		"brute_force_login": "auth.login.failed", "repeated_client_error": "http.response.client_error", "repeated_route": "audit.http.request.pre",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := detect(t, spec(name, "threshold: 2"))
			d.want(d.at(0, append(visitor(typ, 1), "event_id", "e1")...))
			d.want(d.at(1, append(visitor(typ, 1), "event_id", "e1")...))
			d.want(d.at(2, append(visitor(typ, 1), "event_id", "e2")...), name)
			d.want(d.at(3, append(visitor(typ, 1), "event_id", "e3")...), name) // nothing is deleted when it fires
		})
	}
}

// TestSuccessClearsUpToItsOwnTime: whatever order the entries come in.
func TestSuccessClearsUpToItsOwnTime(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("brute_force_login", "threshold: 2"))
	d.at(10, success("203.0.113.9", "eve")...)
	d.want(d.at(9, failure("203.0.113.9", "eve")...))
	d.want(d.at(10, failure("203.0.113.9", "eve")...))
	d.want(d.at(11, failure("203.0.113.9", "eve")...))
	d.want(d.at(12, failure("203.0.113.9", "eve")...), "brute_force_login")
}

func TestResourceEnumerationCountsPathsFromTheirLatestVisit(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("resource_enumeration", "{threshold: 2, window: 10s}"))
	d.want(d.at(0, visitor("http.response.success", 1)...))
	d.want(d.at(8, visitor("http.response.success", 1)...))
	d.want(d.at(12, visitor("http.response.success", 2)...), "resource_enumeration")
}

func TestRouteOfARequest(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("repeated_route", "threshold: 1"))
	for want, more := range map[string][]string{
		"detail": {"http.route_name", "detail", "http.route", "/u/<id>"}, "/u/<id>": {"http.route", "/u/<id>"}, "/u/1": nil,
	} {
		m := d.at(0, append([]string{"event_type", "audit.http.request.pre", "source.address", "203.0.113.9", "url.path", "/u/1"}, more...)...)
		if len(m) != 1 || m[0].Metadata["route"] != want {
			t.Errorf("%v: %+v, want the route %s", more, m, want)
		}
	}
}

func TestCooldownIsTheWindowUnlessConfigured(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]time.Duration{
		"{threshold: 1, window: 17s}": 17 * time.Second, "{threshold: 1, window: 17s, cooldown: 3h}": 3 * time.Hour,
	} {
		for name, typ := range map[string]string{
			"brute_force_login": "auth.login.failed", "repeated_client_error": "http.response.client_error",
			"repeated_route": "audit.http.request.pre", "resource_enumeration": "http.response.success",
		} {
			if m := detect(t, spec(name, params)).at(0, visitor(typ, 1)...)[0]; m.Cooldown != want {
				t.Errorf("%s {%s}: cooldown %s, want %s", name, params, m.Cooldown, want)
			}
		}
	}
}

// TestWindowKeysHoldTheRulesParameters: every parameter that changes what a window counts is part
// of its key, so that workers with different configurations never share a window.
func TestWindowKeysHoldTheRulesParameters(t *testing.T) {
	t.Parallel()
	id := func(lateness time.Duration, specs ...rules.Spec) string {
		built, _, err := rules.Build(specs, lateness)
		if err != nil {
			t.Fatal(err)
		}
		e := event.Event{Type: "auth.login.failed", Scopes: []checker.Scope{{Type: checker.ScopeIP, Value: "203.0.113.9"}}}
		return built[0].Plan(&e, nil)[0].Spec.ID()
	}
	seen := map[string]int{}
	for i, got := range []string{
		id(time.Minute, spec("brute_force_login", "")),
		id(time.Hour, spec("brute_force_login", "")),
		id(time.Minute, spec("brute_force_login", "threshold: 6")),
		id(time.Minute, spec("brute_force_login", "window: 6m")),
		id(time.Minute, spec("brute_force_login", "success_clears: never")),
		id(time.Minute, spec("brute_force_login", ""), spec("login_throttle", "threshold: 50")),
	} {
		if other, ok := seen[got]; ok {
			t.Errorf("configurations %d and %d share the window %s", other, i, got)
		}
		seen[got] = i
	}
}
