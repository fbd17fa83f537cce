package detector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
)

// TestLateEventsReviveNoBlock: a block ends so long after the event, not after
// the worker came to it.
func TestLateEventsReviveNoBlock(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce+"blocks: {default_ttl: 10m}\n")
	b.start = time.Now().Add(-time.Hour)
	b.must("DDDDD", b.failures(5, "203.0.113.9")...)
	if block, ok := b.blocked("ip", "203.0.113.9"); ok || len(b.emitted) > 0 {
		t.Errorf("blocked by %+v, emitted %+v", block, b.emitted)
	}
	b.start, b.entries = time.Now().Add(-9*time.Minute), 0
	b.must("DDDDD", b.failures(5, "203.0.113.10")...)
	block, ok := b.blocked("ip", "203.0.113.10")
	if want := b.start.Add(5*time.Millisecond + 10*time.Minute); !ok || block.ExpiresAt.Sub(want).Abs() > time.Millisecond {
		t.Errorf("blocked: %t, until %s, want ten minutes after the last failure, %s", ok, block.ExpiresAt, want)
	}
}

// TestBlockAppliedOnlyWhenBlockBegins: of a block that begins and of one that
// becomes permanent, not of one that is extended or repeated.
func TestBlockAppliedOnlyWhenBlockBegins(t *testing.T) {
	t.Parallel()
	b := newBench(t, `
rules: [{name: brute_force_login, threshold: 1}, {name: sensitive_field_change, fields: [email]}]
actions: {brute_force_login: {action: temp_block, scopes: [user]}}
`)
	fail := func() {
		b.must("D", b.entry("event_type", "auth.login.failed", "source.address", "203.0.113.9", "user.id", "42"))
	}
	change := func() { b.must("D", b.entry("event_type", "model.update", "changed_fields", "email", "user.id", "42")) }
	for i, step := range []struct {
		do      func()
		emitted int
	}{{fail, 1}, {fail, 1}, {change, 2}, {change, 2}, {fail, 2}} {
		if step.do(); len(b.emitted) != step.emitted {
			t.Fatalf("step %d: emitted %+v", i, b.emitted)
		}
	}
	if b.emitted[0].Action != wire.ActionTemp || b.emitted[1].Action != wire.ActionPermanent {
		t.Errorf("emitted %+v", b.emitted)
	}
	if block, ok := b.blocked("user", "42"); !ok || !block.Permanent() {
		t.Errorf("a weaker block replaced the permanent one: %+v", block)
	}
}

// TestAlertCooldownIsTheRules is what the rule says, in Redis.
func TestAlertCooldownIsTheRules(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]time.Duration{"window: 7m": 7 * time.Minute, "cooldown: 2h": 2 * time.Hour} {
		b := newBench(t, "rules: [{name: resource_enumeration, threshold: 1, "+params+"}]\n")
		b.must("D", b.entry("event_type", "http.response.success", "source.address", "203.0.113.9", "http.route", "/u/<id>", "url.path", "/u/1"))
		key := rediskey.Keys{Prefix: b.redis.Prefix}.Cooldown("resource_enumeration", "203.0.113.9 /u/<id>")
		if ttl := b.redis.Client.PTTL(t.Context(), key).Val(); ttl > want || ttl < want-time.Minute {
			t.Errorf("%s: no alert for %s, want %s", params, ttl, want)
		}
	}
}

// TestConfiguredScopesAreBlocked: a tenant is counted like every scope, and blocked as
// what it is; an IPv6 network is one address.
func TestConfiguredScopesAreBlocked(t *testing.T) {
	t.Parallel()
	b := newBench(t, `
ipv6_prefix: 64
scopes: [{name: tenant, attributes: [tenant.id], block: true}]
rules: [{name: brute_force_login, threshold: 3}]
actions: {brute_force_login: {action: temp_block, scopes: [tenant, ip]}}
`)
	for i := range 3 {
		b.must("D", b.entry("event_type", "auth.login.failed", "source.address", fmt.Sprintf("[2001:db8::%d]:443", i), "tenant.id", " t-1 "))
	}
	for typ, value := range map[string]string{"ip": "2001:db8::/64", "tenant": "t-1"} {
		if _, ok := b.blocked(typ, value); !ok {
			t.Errorf("%s %s is not blocked", typ, value)
		}
	}
}

// TestEventTimeIsEntryTime is that of its entry, unless the configuration believes producers.
func TestEventTimeIsEntryTime(t *testing.T) {
	t.Parallel()
	long := time.Now().Add(-24 * time.Hour)
	for text, want := range map[string]bool{"": true, "stream: {event_time: event}\n": false} {
		b := newBench(t, bruteForce+text)
		for range 5 {
			b.must("D", b.entry("event_type", "auth.login.failed", "source.address", "203.0.113.9", "timestamp", fmt.Sprint(long.UnixNano())))
		}
		if _, ok := b.blocked("ip", "203.0.113.9"); ok != want {
			t.Errorf("%q: blocked: %t, want %t: a day ago is past every block", text, ok, want)
		}
	}
}

// TestNothingRunsUnlessListed: without rules an attack is not a match.
func TestNothingRunsUnlessListed(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("test.yaml", nil, config.Options{Hostname: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"auth.login.failed", "http.response.client_error", "audit.http.request.pre", "model.update"} {
		for rule := range cfg.RuleSet.For(&event.Event{Type: typ}) {
			t.Errorf("%s is evaluated by %s", typ, rule.Name())
		}
	}
}

// TestDeadLettersHaveReason: an entry that is not an event is dead at its first
// delivery, with a reason, and counted by its class.
func TestDeadLettersHaveReason(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	verdicts, err := b.Handle(t.Context(), nil, []consumer.Entry{b.entry("event", "{"), b.entry("user.id", "7")})
	if err != nil {
		t.Fatal(err)
	}
	for i, class := range []string{wire.NotJSON, wire.NoEventType} {
		if v := verdicts[i]; v.Status != consumer.Dead || !strings.HasPrefix(v.Reason, class+": ") {
			t.Errorf("verdict %+v, want dead for %s", v, class)
		}
		if n := testutil.ToFloat64(b.metrics.malformed.WithLabelValues(class)); n != 1 {
			t.Errorf("%v entries counted as %s", n, class)
		}
	}
}
