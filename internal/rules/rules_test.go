package rules_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/memwindow"
	"github.com/wardstream/wardstream/internal/wire"
)

// epoch is when the events of these tests begin.
var epoch = time.UnixMilli(1_800_000_000_000)

func spec(name, params string) rules.Spec {
	if params == "" {
		params = "{}"
	}
	return rules.Spec{Name: name, Decode: func(into any) error {
		return yaml.UnmarshalWithOptions([]byte(params), into, yaml.Strict())
	}}
}

// a detection runs rules over events, one at a time, as the pipeline does.
type detection struct {
	t       *testing.T
	set     *rules.Set
	windows window.Store
	decoder *wire.Decoder
	n       int
}

func detect(t *testing.T, specs ...rules.Spec) *detection {
	t.Helper()
	built, at, err := rules.Build(specs, 5*time.Minute)
	if err != nil {
		t.Fatalf("rule %d: %v", at, err)
	}
	now := func() time.Time { return epoch }
	return &detection{t: t, set: rules.NewSet(built...), windows: memwindow.New(now), decoder: wire.NewDecoder(wire.DecoderOptions{})}
}

// at evaluates an event that comes so many seconds after the epoch, and
// returns its matches.
func (d *detection) at(seconds float64, fields ...string) []rules.Match {
	d.t.Helper()
	d.n++
	id := fmt.Sprintf("%d-%d", epoch.Add(time.Duration(seconds*float64(time.Second))).UnixMilli(), d.n)
	e, err := d.decoder.Decode("s", id, fields)
	if err != nil {
		d.t.Fatal(err)
	}
	var matches []rules.Match
	for rule := range d.set.For(&e) {
		counts, err := d.windows.Apply(d.t.Context(), rule.Plan(&e, nil))
		if err != nil {
			d.t.Fatal(err)
		}
		if m, ok := rule.Judge(&e, window.Sizes(counts)); ok {
			matches = append(matches, m)
		}
	}
	return matches
}

// want asserts the rules that matched.
func (d *detection) want(matches []rules.Match, names ...string) {
	d.t.Helper()
	got := make([]string, len(matches))
	for i, m := range matches {
		got[i] = m.Rule
	}
	if !slices.Equal(got, names) && len(got)+len(names) > 0 {
		d.t.Fatalf("event %d matched %v, want %v", d.n, got, names)
	}
}

func failure(ip, user string) []string {
	return []string{"event_type", "auth.login.failed", "source.address", ip, "user.name", user}
}

func success(ip, user string) []string {
	return []string{"event_type", "auth.login.success", "source.address", ip, "user.name", user}
}

func TestBruteForceLogin(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("brute_force_login", ""))
	for i := range 4 {
		d.want(d.at(float64(i), failure("203.0.113.9", "eve")...))
	}
	d.want(d.at(4, failure("203.0.113.10", "eve")...))
	matches := d.at(5, failure("::ffff:203.0.113.9", "bob")...)
	d.want(matches, "brute_force_login")
	if m := matches[0]; m.Severity != 8 || m.Metadata["failure_count"] != 5 || m.Metadata["username"] != "bob" ||
		m.Group != "203.0.113.9" || m.Cooldown != 5*time.Minute || m.Message == "" || len(m.Tags) == 0 {
		t.Errorf("match %+v", m)
	}
	actor := d.at(5, "event_type", "auth.login.failed", "source.address", "203.0.113.9", "actor", "ann", "username", "bob")
	if d.want(actor, "brute_force_login"); actor[0].Metadata["username"] != "ann" {
		t.Errorf("match %+v", actor[0])
	}
	d.want(d.at(304.9, failure("203.0.113.9", "eve")...)) // three of the five are too old by now
	d.want(d.at(305, "event_type", "auth.login.failed", "user.name", "no address"))
}

func TestBruteForceLoginSuccessClears(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]bool{
		"": true, ", success_clears: user": true, ", success_clears: address": false, ", success_clears: never": true,
	} {
		t.Run(params, func(t *testing.T) {
			t.Parallel()
			d := detect(t, spec("brute_force_login", "{threshold: 3"+params+"}"))
			d.at(0, failure("203.0.113.9", "eve")...)
			d.at(1, failure("203.0.113.9", "eve")...)
			d.at(2, success("203.0.113.9", "mallory")...) // an account of the attacker's own
			if got := len(d.at(3, failure("203.0.113.9", "eve")...)) > 0; got != want {
				t.Errorf("matched: %t, want %t", got, want)
			}
		})
	}
	for mode, want := range map[string]bool{"user": false, "never": true} {
		d := detect(t, spec("brute_force_login", "{threshold: 3, success_clears: "+mode+"}"))
		d.at(0, failure("203.0.113.9", "ann")...)
		d.at(1, failure("203.0.113.9", "ann")...)
		d.at(2, success("203.0.113.9", "ann")...) // remembered it after all
		if got := len(d.at(3, failure("203.0.113.9", "ann")...)) > 0; got != want {
			t.Errorf("%s: matched: %t, want %t", mode, got, want)
		}
	}
}

func TestLoginThrottle(t *testing.T) {
	t.Parallel()
	request := func(path string) []string {
		return []string{"event_type", "audit.http.request.pre", "source.address", "203.0.113.9", "url.path", path}
	}
	d := detect(t, spec("login_throttle", "{threshold: 7}"), spec("brute_force_login", ""))
	for i := range 7 {
		d.want(d.at(float64(i), request("/login")...))
		d.at(float64(i), failure("203.0.113.9", "eve")...)
	}
	matches := d.at(8, request("/login/")...)
	d.want(matches, "login_throttle")
	if matches[0].Decision != "block" || matches[0].Metadata["failure_count"] != 7 {
		t.Errorf("match %+v", matches[0])
	}
	d.want(d.at(9, request("/home")...))
	d.want(d.at(400, request("/login")...))

	alone := detect(t, spec("login_throttle", "{threshold: 1}"))
	alone.at(0, failure("203.0.113.9", "eve")...)
	alone.want(alone.at(1, request("/login")...))
}

func TestRepeatedClientError(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("repeated_client_error", "{threshold: 3, window: 10s, severity: 4, message: scan, tags: [a]}"))
	event := []string{"event_type", "http.response.client_error", "srcip", "203.0.113.9"}
	d.want(d.at(0, event...))
	d.want(d.at(5, event...))
	d.want(d.at(5, "event_type", "http.response.server_error", "srcip", "203.0.113.9"))
	matches := d.at(9.999, event...)
	d.want(matches, "repeated_client_error")
	if m := matches[0]; m.Metadata["error_count"] != 3 || m.Severity != 4 || m.Message != "scan" || !slices.Equal(m.Tags, []string{"a"}) {
		t.Errorf("match %+v", m)
	}
	d.want(d.at(15, event...))
}

func TestEventsSentTwiceCountOnce(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("repeated_client_error", "{threshold: 2}"))
	event := []string{"event_type", "http.response.client_error", "srcip", "203.0.113.9", "event_id"}
	d.want(d.at(0, append(event, "e1")...))
	d.want(d.at(1, append(event, "e1")...))
	d.want(d.at(2, append(event, "e2")...), "repeated_client_error")
}

func TestRepeatedRoute(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("repeated_route", `{threshold: 2, paths: ["^/pay/"], block_ttl: 2m, decision: alert}`))
	request := func(ip, path string, more ...string) []string {
		return append([]string{"event_type", "audit.http.request.pre", "source.address", ip, "url.path", path}, more...)
	}
	d.want(d.at(0, request("203.0.113.9", "/pay/1", "http.route", "/pay/<id>")...))
	d.want(d.at(1, request("203.0.113.9", "/home", "http.route", "/pay/<id>")...))
	d.want(d.at(2, request("203.0.113.8", "/pay/2", "http.route", "/pay/<id>")...))
	matches := d.at(3, request("203.0.113.9", "/pay/2", "http.route", "/pay/<id>")...)
	d.want(matches, "repeated_route")
	if m := matches[0]; m.BlockTTL != 2*time.Minute || m.Metadata["block_ttl"] != 120 || m.Metadata["route"] != "/pay/<id>" || m.Decision != "alert" {
		t.Errorf("match %+v", m)
	}
	d.want(d.at(4, request("203.0.113.9", "/pay/3")...)) // without a route, its path
	d.want(d.at(5, request("203.0.113.9", "/pay/3")...), "repeated_route")
}

func TestRequestBodyThreshold(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"amount": 10000}`: false, `{"amount": "10000.00"}`: false, `{"amount": 10000.000000000000000001}`: true,
		`{"amount": "1e5"}`: true, `{"amount": "NaN"}`: false, `{"amount": "Infinity"}`: true, `{"amount": "-1e9"}`: false,
		`{"amount": true}`: false, `{"amount": [20000]}`: false, `{"Amount": 20000}`: false, `{"amount": ""}`: false,
		`{"amount": "20_000"}`: false, `"20000"`: false, `{"amount": 1e999999999}`: true, `{"amount": " 20000 "}`: true,
	} {
		d := detect(t, spec("request_body_threshold", ""))
		got := d.at(0, "event", `{"event_type": "audit.http.request.pre", "request": {"body": `+body+`}}`)
		if (len(got) > 0) != want {
			t.Errorf("body %s matched: %t, want %t", body, len(got) > 0, want)
		}
	}
	d := detect(t, spec("request_body_threshold", `{field: total, threshold: "99.5", paths: [^/o/]}`))
	d.want(d.at(0, "event_type", "audit.http.request.pre", "path", "/o/1", "request.body.total", "99.51"), "request_body_threshold")
	d.want(d.at(0, "event_type", "audit.http.request.pre", "path", "/x/o/1", "request.body.total", "99.51"))
	m := d.at(0, "event_type", "audit.http.request.pre", "path", "/o/1", "body", `{"total": 1.5E3}`)[0]
	if m.Metadata["value"] != "1.5E+3" || m.Metadata["threshold"] != "99.5" || m.Metadata["field"] != "total" || m.Decision != "block" {
		t.Errorf("match %+v", m)
	}
}

func TestResourceEnumeration(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("resource_enumeration", "{threshold: 3}"))
	response := func(route, path string) []string {
		return []string{"event_type", "http.response.success", "source.address", "203.0.113.9", "http.route", route, "url.path", path}
	}
	d.want(d.at(0, response("/u/<id>", "/u/1")...))
	d.want(d.at(1, response("/u/<id>", "/u/2")...))
	d.want(d.at(2, response("/u/<id>", "/u/2")...))
	d.want(d.at(3, response("/p/<id>", "/p/3")...))
	for i := range 200 { // noise doesn't push the evidence out
		d.want(d.at(4+float64(i)/10, response("/about", "/about")...))
	}
	matches := d.at(30, response("/u/<id>", "/u/3")...)
	d.want(matches, "resource_enumeration")
	if m := matches[0]; m.Metadata["distinct_paths"] != 3 || m.Metadata["route"] != "/u/<id>" {
		t.Errorf("match %+v", m)
	}
	d.want(d.at(31, "event_type", "http.response.success", "http.route", "/u/<id>", "url.path", "/u/9"))
}

func TestSensitiveFieldChange(t *testing.T) {
	t.Parallel()
	d := detect(t, spec("sensitive_field_change", "{fields: [Email, role], model_labels: [Auth.User]}"))
	update := func(fields string) []string {
		return []string{"event_type", "model.update", "model_label", "AUTH.user", "object_id", "7", "user.id", "1", "changed_fields", fields}
	}
	d.want(d.at(0, update(`["name"]`)...))
	matches := d.at(1, update(`["ROLE", "email", "name", "EMAIL"]`)...)
	d.want(matches, "sensitive_field_change")
	m := matches[0]
	if fmt.Sprint(m.Metadata["changed_fields"]) != "[email role]" || m.Metadata["model_label"] != "auth.user" || m.Subject != "7" {
		t.Errorf("match %+v", m)
	}
	d.want(d.at(2, update("role")...), "sensitive_field_change")
	d.want(d.at(3, update(`{"role": ["a", "b"]}`)...), "sensitive_field_change")
	d.want(d.at(4, "event_type", "model.update", "changed_fields", "role", "model_label", "shop.Order"))
	d.want(d.at(5, "event_type", "model.create", "changed_fields", "role", "model_label", "auth.user"))
}

func TestSensitiveFieldChangeActor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		user, object string
		self, other  bool
	}{
		{"7", "7", true, false},
		{"7", " 7 ", true, false},
		{"1", "7", false, true},
		{"7", "77", false, true},
		{"u-1", "U-1", false, true},
		{"", "7", false, false},
		{"7", "", false, false},
		{"", "", false, false},
	} {
		for actor, want := range map[string]bool{"self": c.self, "other": c.other, "any": true, "": true} {
			params := "{fields: [password]}"
			if actor != "" {
				params = "{fields: [password], actor: " + actor + "}"
			}
			d := detect(t, spec("sensitive_field_change", params))
			got := d.at(0, "event_type", "model.update", "user.id", c.user, "object_id", c.object, "changed_fields", "password", "model_label", "auth.user")
			if len(got) > 0 != want {
				t.Errorf("actor %q: user %q changing %q matched: %t, want %t", actor, c.user, c.object, len(got) > 0, want)
			}
		}
	}
	d := detect(t, spec("sensitive_field_change", "{fields: [password], actor: self}")) // numbers are their text
	d.want(d.at(0, "event", `{"event_type": "model.update", "user": {"id": 7}, "object_id": 7, "changed_fields": ["password"]}`), "sensitive_field_change")
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, params, param, says string }{
		{"brute_force_login", "threshold: 0", "threshold", "0 is not between"},
		{"brute_force_login", "window: 1ms", "window", "1ms is not between"},
		{"brute_force_login", "success_clears: all", "success_clears", "not one of user, address, never"},
		{"brute_force_login", "severity: 11", "severity", "11 is not between"},
		{"login_throttle", "threshold: -1", "threshold", "-1"},
		{"login_throttle", `paths: ["("]`, "paths[0]", "missing closing )"},
		{"repeated_route", "decision: ban", "decision", "ban"},
		{"request_body_threshold", "threshold: lots", "threshold", "not a decimal number"},
		{"sensitive_field_change", "{fields: [a], actor: me}", "actor", "not one of self, other, any"},
		{"sensitive_field_change", "", "fields", "is empty"},
	} {
		_, _, err := rules.Build([]rules.Spec{spec(c.name, c.params)}, 0)
		var param *rules.ParamError
		if !errors.As(err, &param) || param.Param != c.param || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s {%s}: %v", c.name, c.params, err)
		}
	}
	if _, at, err := rules.Build([]rules.Spec{spec("repeated_route", ""), spec("no_such_rule", "")}, 0); !errors.Is(err, rules.ErrUnknown) || at != 1 {
		t.Errorf("at %d: %v", at, err)
	}
	if _, _, err := rules.Build([]rules.Spec{spec("repeated_route", "thresold: 3")}, 0); err == nil {
		t.Error("an unknown parameter was accepted")
	}
}

func TestBuiltinDefaultsAreValid(t *testing.T) {
	t.Parallel()
	needed := map[string]string{"sensitive_field_change": "fields: [email]"}
	for _, name := range rules.Names() {
		built, _, err := rules.Build([]rules.Spec{spec(name, needed[name])}, time.Minute)
		if err != nil || built[0].Name() != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(rules.Names()) != 8 {
		t.Errorf("built-ins: %v", rules.Names())
	}
}

// picky accepts certain event types.
type picky struct {
	name   string
	filter rules.EventFilter
}

func (p picky) Name() string                                      { return p.name }
func (picky) Selects(*event.Event) bool                           { return true }
func (p picky) EventFilter() rules.EventFilter                    { return p.filter }
func (p picky) Plan(_ *event.Event, ops []window.Op) []window.Op  { return ops }
func (p picky) Judge(_ *event.Event, _ []int) (rules.Match, bool) { return rules.Match{}, false }

func TestSetForReturnsTheRulesOfAType(t *testing.T) {
	t.Parallel()
	set := rules.NewSet(
		picky{"listed", rules.EventFilter{Types: []string{"a.b", "a.c"}}},
		picky{"prefix", rules.EventFilter{Prefixes: []string{"a."}}},
		picky{"any", rules.EventFilter{Any: true}},
	)
	want := map[string][]string{
		"a.b": {"listed", "prefix", "any"}, "a.d": {"prefix", "any"}, "b": {"any"}, "A.B": {"any"}, "a.b ": {"prefix", "any"},
	}
	for _, typ := range slices.Sorted(maps.Keys(want)) {
		var got []string
		for r := range set.For(&event.Event{Type: typ}) {
			got = append(got, r.Name())
		}
		if !slices.Equal(got, want[typ]) {
			t.Errorf("%q: %v, want %v", typ, got, want[typ])
		}
	}
}
