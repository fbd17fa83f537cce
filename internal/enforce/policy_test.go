package enforce_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/pkg/checker"
)

var at = time.UnixMilli(1_800_000_000_000)

func incident() *event.Event {
	return &event.Event{
		ID: "1800000000000-0", Type: "x", Time: at,
		Attrs: []event.Attr{{Name: "source.address", Value: "203.0.113.9"}},
		Scopes: []checker.Scope{
			{Type: checker.ScopeIP, Value: "203.0.113.9"},
			{Type: checker.ScopeUser, Value: "u1"},
			{Type: checker.ScopeSession, Value: "s1"},
			{Type: checker.ScopeRoute, Value: "/r"},
			{Type: "tenant", Value: "t1"},
		},
	}
}

func policy() *enforce.Policy {
	return &enforce.Policy{
		Defaults: enforce.BuiltinActions(), Fallback: enforce.Observe, BlockSeverity: -1,
		StatusCode: 429, Message: "blocked",
		Blockable: []string{checker.ScopeUser, checker.ScopeUsername, checker.ScopeSession, checker.ScopeIP, "tenant"},
	}
}

// describe writes a decision as text: "permanent user=u1" and the like.
func describe(d enforce.Decision) string {
	var parts []string
	for _, b := range d.Blocks {
		kind := b.ExpiresAt.Sub(at).String()
		if b.Permanent() {
			kind = "permanent"
		}
		parts = append(parts, kind+" "+b.Scope.Type+"="+b.Scope.Value)
	}
	if d.Alert {
		parts = append(parts, "alert")
	}
	return strings.Join(parts, ", ")
}

func TestResolveFirstSettingDecides(t *testing.T) {
	t.Parallel()
	temp := func(scopes ...string) enforce.ActionConfig {
		return enforce.ActionConfig{Action: enforce.TempBlock, Scopes: scopes}
	}
	for name, c := range map[string]struct {
		change func(*enforce.Policy)
		match  rules.Match
		want   string
	}{
		"configured action": {
			func(p *enforce.Policy) {
				p.Actions = map[string]enforce.ActionConfig{"r": temp("user")}
				p.BlockRules = map[string]time.Duration{"r": time.Second}
			},
			rules.Match{Rule: "r", Decision: "persist_block"},
			"5m0s user=u1",
		},
		"block rule": {
			func(p *enforce.Policy) {
				p.BlockRules = map[string]time.Duration{"brute_force_login": 99 * time.Second}
			},
			rules.Match{Rule: "brute_force_login", Decision: "persist_block", BlockTTL: time.Hour},
			"1m39s ip=203.0.113.9",
		},
		"built-in default":             {nil, rules.Match{Rule: "sensitive_field_change", Decision: "alert"}, "permanent user=u1, permanent session=s1"},
		"built-in alert":               {nil, rules.Match{Rule: "resource_enumeration", Decision: "temp_block"}, "alert"},
		"configured decision":          {nil, rules.Match{Rule: "brute_force_login", Decision: "alert", Configured: true}, "alert"},
		"decision not configured":      {nil, rules.Match{Rule: "brute_force_login", Decision: "alert"}, "5m0s ip=203.0.113.9"},
		"own decision":                 {nil, rules.Match{Rule: "r", Decision: "temp_block"}, "5m0s ip=203.0.113.9"},
		"bare persist_block, never ip": {nil, rules.Match{Rule: "r", Decision: "persist_block"}, "permanent user=u1, permanent session=s1"},
		"configured persist_block without scopes": {
			func(p *enforce.Policy) {
				p.Actions = map[string]enforce.ActionConfig{"r": {Action: enforce.PersistBlock}}
			}, rules.Match{Rule: "r"}, "permanent user=u1, permanent session=s1",
		},
		"configured persist_block on ip": {
			func(p *enforce.Policy) {
				p.Actions = map[string]enforce.ActionConfig{"r": {Action: enforce.PersistBlock, Scopes: []string{"ip", "user"}}}
			}, rules.Match{Rule: "r"}, "permanent user=u1, permanent ip=203.0.113.9",
		},
		"own alert":                  {nil, rules.Match{Rule: "r", Decision: "alert"}, "alert"},
		"nothing configured":         {nil, rules.Match{Rule: "r"}, ""},
		"an unknown decision":        {nil, rules.Match{Rule: "r", Decision: "quarantine"}, ""},
		"fallback":                   {func(p *enforce.Policy) { p.Fallback = enforce.Alert }, rules.Match{Rule: "r"}, "alert"},
		"block below the severity":   {func(p *enforce.Policy) { p.BlockSeverity = 8 }, rules.Match{Rule: "r", Decision: "block", Severity: 7}, "5m0s ip=203.0.113.9"},
		"block at the severity":      {func(p *enforce.Policy) { p.BlockSeverity = 8 }, rules.Match{Rule: "r", Decision: "block", Severity: 8}, "permanent ip=203.0.113.9"},
		"block at severity 0":        {func(p *enforce.Policy) { p.BlockSeverity = 0 }, rules.Match{Rule: "r", Decision: "block"}, "permanent ip=203.0.113.9"},
		"block without a severity":   {nil, rules.Match{Rule: "r", Decision: "block", Severity: 10}, "5m0s ip=203.0.113.9"},
		"the match's own length":     {nil, rules.Match{Rule: "brute_force_login", BlockTTL: time.Hour}, "1h0m0s ip=203.0.113.9"},
		"a bad length is no opinion": {func(p *enforce.Policy) { p.DefaultTTL = time.Minute }, rules.Match{Rule: "brute_force_login", BlockTTL: -5}, "1m0s ip=203.0.113.9"},
		"scopes in the order of blocking": {func(p *enforce.Policy) {
			p.Actions = map[string]enforce.ActionConfig{"r": temp("tenant", "ip", "route", "user", "nonsense")}
		}, rules.Match{Rule: "r"}, "5m0s user=u1, 5m0s ip=203.0.113.9, 5m0s tenant=t1"},
		"a scope the event lacks": {func(p *enforce.Policy) { p.Actions = map[string]enforce.ActionConfig{"r": temp("username")} }, rules.Match{Rule: "r"}, ""},
		"a rule that observes":    {nil, rules.Match{Rule: "brute_force_login", Observe: true}, "alert"},
		"dry run":                 {func(p *enforce.Policy) { p.DryRun = true }, rules.Match{Rule: "brute_force_login"}, "alert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := policy()
			if c.change != nil {
				c.change(p)
			}
			if got := describe(p.Resolve(incident(), c.match)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestDefaultActions(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"brute_force_login": "5m0s ip=203.0.113.9", "login_throttle": "5m0s ip=203.0.113.9", "repeated_client_error": "5m0s ip=203.0.113.9",
		"repeated_route": "5m0s ip=203.0.113.9", "request_body_threshold": "5m0s ip=203.0.113.9", "suspicious_proxy_header": "5m0s ip=203.0.113.9",
		"sensitive_field_change": "permanent user=u1, permanent session=s1", "resource_enumeration": "alert", "another": "",
	} {
		if got := describe(policy().Resolve(incident(), rules.Match{Rule: rule, Severity: 10})); got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

// TestResolveFirstDurationWins: the action's, the match's, the default, five minutes.
func TestResolveFirstDurationWins(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct{ action, match, fallback time.Duration }{
		"1m0s ip=203.0.113.9": {time.Minute, 2 * time.Minute, 3 * time.Minute}, "2m0s ip=203.0.113.9": {0, 2 * time.Minute, 3 * time.Minute},
		"3m0s ip=203.0.113.9": {0, 0, 3 * time.Minute}, "5m0s ip=203.0.113.9": {},
	} {
		p := policy()
		p.DefaultTTL, p.Actions = c.fallback, map[string]enforce.ActionConfig{"r": {Action: enforce.TempBlock, TTL: c.action}}
		if got := describe(p.Resolve(incident(), rules.Match{Rule: "r", BlockTTL: c.match})); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

func TestResolveBlockFields(t *testing.T) {
	t.Parallel()
	p := policy()
	p.Actions = map[string]enforce.ActionConfig{"r": {Action: enforce.TempBlock, TTL: time.Minute, StatusCode: 403, Message: "go away"}}
	b := p.Resolve(incident(), rules.Match{Rule: "r", Message: "why", Metadata: map[string]any{"api_key": "k", "n": 1}}).Blocks[0]
	want := checker.Block{
		Scope: checker.Scope{Type: "ip", Value: "203.0.113.9"}, Reason: "why", Rule: "r", StatusCode: 403, Message: "go away",
		CreatedAt: at, ExpiresAt: at.Add(time.Minute), Metadata: map[string]any{"api_key": "[REDACTED]", "n": 1},
	}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("%+v\nwant %+v", b, want)
	}
	b = policy().Resolve(incident(), rules.Match{Rule: "login_throttle"}).Blocks[0]
	if b.Reason != "login_throttle" || b.StatusCode != 429 || b.Message != "blocked" {
		t.Errorf("%+v", b)
	}
}

func TestAllowlistTurnsBlocksIntoAlerts(t *testing.T) {
	t.Parallel()
	list, _, err := enforce.NewAllowlist([]string{"203.0.113.0/24", "user:u1"})
	if err != nil {
		t.Fatal(err)
	}
	p := policy()
	p.Allowlist = list
	p.Actions = map[string]enforce.ActionConfig{"r": {Action: enforce.TempBlock, Scopes: []string{"ip", "user", "session"}}}
	d := p.Resolve(incident(), rules.Match{Rule: "r"})
	if got := describe(d); got != "5m0s session=s1, alert" || len(d.Allowed) != 2 {
		t.Errorf("%q, allowed %v", got, d.Allowed)
	}
}

func TestTrustedProxyIsNeverBlockedByRule(t *testing.T) {
	t.Parallel()
	p := policy()
	list, _, err := enforce.NewAllowlist([]string{"203.0.113.0/24", "2001:db8:1:2::7"})
	if err != nil {
		t.Fatal(err)
	}
	p.Proxies = list
	p.Actions = map[string]enforce.ActionConfig{"r": {Action: enforce.TempBlock, Scopes: []string{checker.ScopeIP, checker.ScopeUser}}}
	for value, want := range map[string]string{
		"203.0.113.9": "5m0s user=u1, alert", "198.51.100.1": "5m0s user=u1, 5m0s ip=198.51.100.1",
		"2001:db8:1:2::/64": "5m0s user=u1, alert", "2001:db8:1:3::/64": "5m0s user=u1, 5m0s ip=2001:db8:1:3::/64",
	} {
		e := incident()
		e.Attrs[0].Value, e.Scopes[0].Value = "198.51.100.1", value
		if got := describe(p.Resolve(e, rules.Match{Rule: "r"})); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}

func TestAllowlistContains(t *testing.T) {
	t.Parallel()
	list, _, err := enforce.NewAllowlist([]string{" 10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::7", "ip:198.51.100.7", "session:abc", "tenant:a:b"})
	if err != nil {
		t.Fatal(err)
	}
	for scope, want := range map[checker.Scope]bool{
		{Type: "ip", Value: "10.9.8.7"}: true, {Type: "ip", Value: "11.0.0.1"}: false, {Type: "ip", Value: "192.0.2.200"}: true,
		{Type: "ip", Value: "192.0.3.1"}: false, {Type: "ip", Value: "198.51.100.7"}: true, {Type: "ip", Value: "2001:db8::7"}: true,
		{Type: "ip", Value: "2001:db8::/64"}: true, {Type: "ip", Value: "2001:db8:1::/64"}: false,
		{Type: "session", Value: "abc"}: true, {Type: "user", Value: "abc"}: false, {Type: "tenant", Value: "a:b"}: true,
	} {
		if list.Holds(scope, incident()) != want {
			t.Errorf("%s: %t", scope, !want)
		}
	}
	for i, bad := range []string{"", "10.0.0.0/33", "nonsense", "user:", "1.2.3", "999.1.1.1"} {
		if _, at, err := enforce.NewAllowlist([]string{"10.0.0.1", bad}); err == nil || at != 1 {
			t.Errorf("%d: %q was accepted", i, bad)
		}
	}
}

func TestEscalation(t *testing.T) {
	t.Parallel()
	e := enforce.NewEscalation(enforce.Escalation{Factor: 2, MaxTTL: time.Hour, Memory: 24 * time.Hour, PermanentAfter: 6})
	block := func(typ string) checker.Block {
		return checker.Block{Scope: checker.Scope{Type: typ, Value: "v"}, CreatedAt: at, ExpiresAt: at.Add(5 * time.Minute)}
	}
	for previous, want := range []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
		if got := e.Apply(block("user"), previous).ExpiresAt.Sub(at); got != want {
			t.Errorf("after %d: %s, want %s", previous, got, want)
		}
	}
	if !e.Apply(block("user"), 6).Permanent() {
		t.Error("not permanent after six")
	}
	if e.Apply(block("ip"), 60).Permanent() {
		t.Error("an address became permanent unasked")
	}
	long := block("user")
	long.ExpiresAt = at.Add(2 * time.Hour)
	if got := e.Apply(long, 3).ExpiresAt.Sub(at); got != 2*time.Hour {
		t.Errorf("escalation shortened a block to %s", got)
	}
	asked := enforce.NewEscalation(enforce.Escalation{PermanentAfter: 2, PermanentIP: true})
	if asked.Apply(block("ip"), 1).Permanent() || !asked.Apply(block("ip"), 2).Permanent() {
		t.Error("an address did not become permanent when asked for")
	}
	if spec := e.Previous(block("user").Scope, at).Spec; spec.Length != 24*time.Hour {
		t.Errorf("offences are remembered for %s", spec.Length)
	}
	forever := enforce.NewEscalation(enforce.Escalation{Factor: 1e300})
	if got := forever.Apply(block("user"), 9).ExpiresAt.Sub(at); got != 365*24*time.Hour {
		t.Errorf("unbounded escalation gave %s", got)
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	long := make([]any, 102)
	for i := range long {
		long[i] = i
	}
	got := enforce.Scrub(map[string]any{
		"password": "p", "API-Key": "k", "accessToken": 1, "Set-Cookie": []any{"c"}, "count": 5, "note": "password=x",
		"outer":  map[string]any{"jwt": "x", "ok": []any{map[string]any{"secret": 1}, "secret"}},
		"s":      strings.Repeat("é", 3000),
		"l":      long,
		"fields": []string{"email"},
		"number": event.Number("1.50"),
	})
	for key, want := range map[string]any{
		"password": "[REDACTED]", "API-Key": "[REDACTED]", "accessToken": "[REDACTED]", "Set-Cookie": "[REDACTED]", "count": 5,
		"note": "password=x", "outer": map[string]any{"jwt": "[REDACTED]", "ok": []any{map[string]any{"secret": "[REDACTED]"}, "secret"}},
		"s": strings.Repeat("é", 2048) + "[TRUNCATED]", "fields": []any{"email"}, "number": "1.50",
	} {
		if !reflect.DeepEqual(got[key], want) {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if l, _ := got["l"].([]any); len(l) != 101 || l[100] != "[TRUNCATED]" {
		t.Errorf("the list has %d items", len(l))
	}
	deep := map[string]any{}
	for inner, i := deep, 0; i < 20; i++ {
		next := map[string]any{}
		inner["x"], inner = next, next
	}
	depth := 0
	for m, ok := enforce.Scrub(deep), true; ok; depth++ {
		m, ok = m["x"].(map[string]any)
	}
	if depth != 8 {
		t.Errorf("%d levels are left", depth)
	}
}

func TestEverySensitiveWordIsRedacted(t *testing.T) {
	t.Parallel()
	for _, word := range []string{
		"password", "passwd", "pwd", "passcode", "secret", "token", "apikey", "authorization", "bearer", "jwt", "cookie", "sessionid", "csrf", "creditcard", "ssn",
	} {
		for _, key := range []string{word, strings.ToUpper(word), "x_" + word + "_1", strings.Join(strings.Split(word, ""), "-"), word[:1] + " ." + word[1:]} {
			if got := enforce.Scrub(map[string]any{key: "v"})[key]; got != "[REDACTED]" {
				t.Errorf("%q is %v", key, got)
			}
		}
	}
	if got := enforce.Scrub(map[string]any{"passage": "v", "session": "v"}); got["passage"] != "v" || got["session"] != "v" {
		t.Errorf("%v", got)
	}
}

func FuzzAllowlist(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "user:1", "::ffff:1.2.3.4/100", "ip:[::1]:80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		if list, _, err := enforce.NewAllowlist([]string{entry}); err == nil {
			list.Holds(checker.Scope{Type: "ip", Value: "2001:db8::/64"}, incident())
		}
	})
}
