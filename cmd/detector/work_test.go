package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

const everyKind = `
rules:
- {name: brute_force_login, threshold: 3}
- {name: resource_enumeration, threshold: 3}
- {name: sensitive_field_change, fields: [email]}
escalate: {factor: 2}
`

// busy publishes what makes a worker of everyKind block for a while and for good, alert, skip and
// dead-letter.
func (in *installation) busy() {
	in.t.Helper()
	for i := range 4 {
		in.publish("event_type", failed, "source.address", attacker, "user.name", "eve")
		in.publish("event_type", "http.response.success", "source.address", visitor, "http.route", "/u/{id}", "url.path", fmt.Sprint("/u/", i))
	}
	in.publish("event_type", "auth.login.success", "source.address", visitor, "user.name", "bob")
	in.publish("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "42")
	in.publish("event_type", "audit.enforcement.alert")
	in.publish("no", "type")
	in.settled("detectors")
}

// TestEveryKeyHasATTL: whatever worker and operator do, they leave no key that stays, but the
// streams, and none that docs/reference/redis-keys.md does not describe.
func TestEveryKeyHasATTL(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), testenv.Postgres(t), everyKind)
	w := in.start()
	w.reaches("wardstream_reconcile_total", 1, `outcome="rebuilt"`)
	in.busy()
	in.command("block", "user", "43").answers(t, 0)
	in.command("unblock", "user", "43").answers(t, 0)
	kinds := map[string]bool{}
	all, err := in.redis.Client.Keys(t.Context(), in.redis.Prefix+":*").Result()
	if err != nil {
		t.Fatal(err)
	}
	documented := documentedKeys(t)
	for _, key := range all {
		if strings.HasPrefix(key, in.stream()) || strings.HasSuffix(key, "enforcement") {
			continue
		}
		if own := strings.TrimPrefix(key, in.redis.Prefix); !slices.ContainsFunc(documented, func(p *regexp.Regexp) bool { return p.MatchString(own) }) {
			t.Errorf("docs/reference/redis-keys.md lacks %s", key)
		}
		if in.redis.Client.Type(t.Context(), key).Val() == "stream" && !strings.HasSuffix(key, ":blocks:changes") {
			continue
		}
		if ttl := in.redis.Client.PTTL(t.Context(), key).Val(); ttl <= 0 {
			t.Errorf("%s has the TTL %s", key, ttl)
		}
		kind, _, _ := strings.Cut(strings.TrimPrefix(key, in.redis.Prefix+":"), ":")
		kinds[kind] = true
	}
	for _, kind := range []string{"block", "blocks", "unblocked", "cooldown", "window"} {
		if !kinds[kind] {
			t.Errorf("there is no key of kind %s among %q, so the test shows too little", kind, all)
		}
	}
}

// documentedKeys are patterns of the keys on the page, without their prefix.
func documentedKeys(t *testing.T) []*regexp.Regexp {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference/redis-keys.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []*regexp.Regexp
	for _, m := range regexp.MustCompile("(?m)^\\| `\\{prefix\\}([^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		out = append(out, regexp.MustCompile("(?s)^"+regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(m[1]), ".+")+"$"))
	}
	if len(out) < 15 {
		t.Fatalf("the page has only %d keys", len(out))
	}
	return out
}

// TestStdoutDisabledWritesNothing: with events.stdout: false nothing is written there, and the
// stream has the events.
func TestStdoutDisabledWritesNothing(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, everyKind)
	in.env = append(in.env, "WARDSTREAM_EVENTS_STDOUT=false")
	w := in.start()
	in.busy()
	w.stop()
	if out, n := w.out.String(), len(in.enforcementEvents()); out != "" || n == 0 {
		t.Errorf("stdout %q, %d events on the stream", out, n)
	}
}

// TestTemporaryBlocksInPostgresOnlyIfConfigured: they are there if the configuration says so, and
// otherwise not.
func TestTemporaryBlocksInPostgresOnlyIfConfigured(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "blocks: {temp_blocks_in_postgres: true}\n": 1} {
		pg := testenv.Postgres(t)
		in := install(t, testenv.Redis(t), pg, "rules: [{name: brute_force_login, threshold: 1}]\n"+text)
		w := in.start()
		in.publish("event_type", failed, "source.address", attacker)
		in.settled("detectors")
		in.command("blocks", "ip", attacker).answers(t, 0)
		var rows int
		if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM permanent_blocks WHERE scope_value = $1 AND expires_at > now()", attacker).Scan(&rows); err != nil || rows != want {
			t.Errorf("%q: %d rows, %v", text, rows, err)
		}
		w.stop()
	}
}

// TestDocumentedMetrics: a worker that has seen everything exports the metrics of
// docs/reference/metrics.md and no others, each with the type and the labels that the page gives
// it.
func TestDocumentedMetrics(t *testing.T) {
	t.Parallel()
	want := documentedMetrics(t)
	in := install(t, testenv.Redis(t), testenv.Postgres(t), everyKind)
	w := in.start()
	w.reaches("wardstream_reconcile_total", 1, `outcome="rebuilt"`)
	in.busy()
	in.publish("event_type", "nobody.asks.for.it")
	for _, name := range []string{"wardstream_redis_round_trips_total", "wardstream_redis_commands_total"} {
		if w.metric(name) == 0 {
			t.Errorf("%s stays 0", name)
		}
	}
	testenv.Eventually(t, patience, func() error {
		_, body := w.get("/metrics")
		got := exportedMetrics(body)
		for name, row := range want {
			if got[name] != row {
				return fmt.Errorf("%s is %q, want %q as on the page", name, got[name], row)
			}
		}
		for name, row := range got {
			if want[name] == "" {
				return fmt.Errorf("docs/reference/metrics.md lacks %s, a %s", name, row)
			}
		}
		return nil
	})
}

// documentedMetrics are the detector's metrics as the page has them: "counter `reason`, `stream`"
// by name.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	ours, _, _ := strings.Cut(string(page), "\n## ingress-check")
	out := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(wardstream_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\|").FindAllStringSubmatch(ours, -1) {
		labels := strings.Split(strings.TrimSpace(m[3]), ", ")
		slices.Sort(labels)
		out[m[1]] = strings.TrimSpace(m[2] + " " + strings.Join(labels, ", "))
	}
	if len(out) < 40 {
		t.Fatalf("the page has only %d metrics", len(out))
	}
	return out
}

// exportedMetrics are the metrics of a worker's /metrics in the form of documentedMetrics.
func exportedMetrics(body string) map[string]string {
	out, labels := map[string]string{}, map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (wardstream_[a-z_]+) ([a-z]+)$`).FindAllStringSubmatch(body, -1) {
		out[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile(`(?m)^(wardstream_[a-z_]+?)(?:_bucket|_sum|_count)?\{([^}]*)\}`).FindAllStringSubmatch(body, -1) {
		for _, pair := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(m[2], -1) {
			if pair[1] != "le" && !slices.Contains(labels[m[1]], "`"+pair[1]+"`") {
				labels[m[1]] = append(labels[m[1]], "`"+pair[1]+"`")
			}
		}
	}
	for name, list := range labels {
		slices.Sort(list)
		out[name] += " " + strings.Join(list, ", ")
	}
	return out
}

// TestHealthDuringAnOutage: without Redis the worker is alive and not ready, and afterwards it goes
// on by itself.
func TestHealthDuringAnOutage(t *testing.T) {
	t.Parallel()
	server := testenv.PrivateRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	in := install(t, &server.RedisEnv, nil, "rules: [{name: brute_force_login, threshold: 1}]\n")
	w := in.start()
	ready := func(want int) {
		t.Helper()
		testenv.Eventually(t, patience, func() error {
			if status, body := w.get("/readyz"); status != want {
				return fmt.Errorf("readyz: %d %q", status, body)
			}
			return nil
		})
	}
	ready(http.StatusOK)
	server.Kill()
	ready(http.StatusServiceUnavailable)
	for _, path := range []string{"/healthz", "/metrics"} {
		if status, body := w.get(path); status != http.StatusOK {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	server.Restart()
	ready(http.StatusOK)
	in.publish("event_type", failed, "source.address", attacker)
	in.settled("detectors")
	in.command("blocks", "ip", attacker).answers(t, 0)
}
