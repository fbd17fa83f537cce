package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

const attacker, visitor = "203.0.113.9", "198.51.100.7"

// An ingress is a running ingress-check that trusts us as a proxy.
type ingress struct {
	t    testing.TB
	addr string
}

// guard starts an ingress-check and waits until it listens.
func guard(t testing.TB, args ...string) *ingress {
	t.Helper()
	args = append([]string{"serve", "--addr", "127.0.0.1:0", "--trusted-proxies", "127.0.0.1", "--user-header", "X-User", "--timeout", "30s"}, args...)
	cmd := exec.Command(program("ingress-check"), args...)
	cmd.Env = []string{}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var seen []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "listening" {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return &ingress{t, entry.Addr}
		}
		seen = append(seen, lines.Text())
	}
	t.Fatalf("ingress-check doesn't listen: %q", seen)
	return nil
}

// ask sends a request of a client and returns the answer's status and body.
func (g *ingress) ask(ip, user string) (int, string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "http://"+g.addr+"/", http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", ip)
	if user != "" {
		r.Header.Set("X-User", user)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// denies waits until the client is denied.
func (g *ingress) denies(ip, user string) {
	g.t.Helper()
	testenv.Eventually(g.t, patience, func() error {
		if status, body := g.ask(ip, user); status != http.StatusTooManyRequests {
			return fmt.Errorf("%s %q: %d %q", ip, user, status, body)
		}
		return nil
	})
}

// TestXADDToDeniedRequest: events that redis-cli publishes to a real detector become requests that
// a real ingress-check denies; a permanent block is in Postgres and outlives FLUSHALL.
func TestXADDToDeniedRequest(t *testing.T) {
	t.Parallel()
	server, pg := testenv.PrivateRedis(t), testenv.Postgres(t)
	in := install(t, &server.RedisEnv, pg, "rules:\n- name: brute_force_login\n- {name: sensitive_field_change, fields: [email]}\n")
	w := in.start()
	g := guard(t, "--redis-url", server.URL, "--postgres-url", pg.URL, "--key-prefix", server.Prefix)
	if status, body := g.ask(attacker, ""); status/100 != 2 {
		t.Fatalf("before anything happened: %d %q", status, body)
	}

	for i := range 5 {
		in.redisCLI("XADD", in.stream(), "*", "event_type", "auth.login.failed", "source.address", attacker, "user.name", fmt.Sprintf("eve%d", i))
	}
	published := time.Now()
	g.denies(attacker, "")
	t.Logf("denied within %s of the last event", time.Since(published))
	if status, body := g.ask(visitor, ""); status/100 != 2 {
		t.Errorf("a visitor: %d %q", status, body)
	}

	in.redisCLI("XADD", in.stream(), "*", "event_type", "model.update", "model_label", "accounts.user", "changed_fields", `["email"]`,
		"user.id", "42", "source.address", visitor)
	g.denies(visitor, "42")
	in.settled("detectors") // acked: Postgres has it
	var rule string
	var permanent bool
	err := pg.Pool.QueryRow(t.Context(), `SELECT rule_name, expires_at IS NULL FROM permanent_blocks
		WHERE scope_type = 'user' AND scope_value = '42' AND revoked_at IS NULL`).Scan(&rule, &permanent)
	if err != nil || rule != "sensitive_field_change" || !permanent {
		t.Fatalf("in Postgres: rule %q, permanent %v, %v", rule, permanent, err)
	}

	in.redisCLI("FLUSHALL")
	if status, _ := g.ask(visitor, "42"); status != http.StatusTooManyRequests {
		t.Errorf("after FLUSHALL the user got %d", status)
	}
	if status, _ := g.ask(visitor, "43"); status/100 != 2 {
		t.Errorf("after FLUSHALL another user got %d", status)
	}
	w.stop()
	in.start() // and copies permanent blocks to Redis again, at once
	testenv.Eventually(t, patience, func() error {
		if n := server.Client.Exists(t.Context(), server.Prefix+":blocks:permanent").Val(); n != 1 {
			return errNotYet
		}
		return nil
	})
	guard(t, "--redis-url", server.URL, "--key-prefix", server.Prefix).denies(visitor, "42")
}

// TestEnforcementEventsInStreamAreIgnored: events about enforcement that are published into the
// stream are acked and counted, and nothing else.
func TestEnforcementEventsInStreamAreIgnored(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	in := install(t, redis, nil, `
rules:
- {name: brute_force_login, threshold: 1}
- {name: sensitive_field_change, fields: [email]}
- {name: suspicious_proxy_header}
`)
	w := in.start()
	matching := []string{"source.address", attacker, "user.name", "eve", "user.id", "42", "changed_fields", `["email"]`, "request.header.x-forwarded-for", visitor}
	types := []string{
		"audit.enforcement.alert", "audit.enforcement.blocked", "audit.enforcement.block_applied", "audit.enforcement.block_revoked",
		"audit.enforcement.evaluation_failed", "audit.enforcement.whatever", "audit.rule.matched", "audit.context.added",
	}
	for _, typ := range types {
		in.publish(append([]string{"event_type", typ}, matching...)...)
		in.publish("event", `{"event_name":"`+typ+`","attributes":{"event_type":"`+typ+`","source.address":"`+attacker+`","scope.type":"ip","scope.value":"`+visitor+`"}}`)
	}
	w.reaches("wardstream_events_skipped_total", float64(2*len(types)))
	w.reaches("wardstream_entries_acked_total", float64(2*len(types)))
	in.settled("detectors")
	if n := w.metric("wardstream_events_evaluated_total"); n != 0 {
		t.Errorf("%v of them were evaluated", n)
	}
	if keys := in.keys(); len(keys) > 0 {
		t.Errorf("they left %q", keys)
	}
	in.command("blocks").answers(t, 0).says(t, "nobody is blocked")
	if out := w.out.all(); len(out) > 0 {
		t.Errorf("enforcement events: %q", out)
	}

	in.publish(append([]string{"event_type", "auth.login.failed"}, matching...)...) // the rules do work
	testenv.Eventually(t, patience, func() error {
		if in.command("blocks", "ip", attacker).code != 0 {
			return errNotYet
		}
		return nil
	})
}

// keys returns the names of the installation's keys that are neither a stream nor of the group and
// its workers.
func (in *installation) keys() []string {
	in.t.Helper()
	all, err := in.redis.Client.Keys(in.t.Context(), in.redis.Prefix+":*").Result()
	if err != nil {
		in.t.Fatal(err)
	}
	var kept []string
	for _, key := range all {
		ofGroup := strings.HasPrefix(key, in.redis.Prefix+":consumer:") || strings.HasPrefix(key, in.redis.Prefix+":counted:") ||
			key == in.redis.Prefix+":settings"
		if !strings.HasPrefix(key, in.stream()) && !ofGroup {
			kept = append(kept, key)
		}
	}
	return kept
}
