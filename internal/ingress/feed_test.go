package ingress

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
)

// published reads a stream as the detector does.
func published(t *testing.T, env *testenv.RedisEnv, stream string) []event.Event {
	t.Helper()
	entries, err := env.Client.XRange(context.Background(), stream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var out []event.Event
	for _, entry := range entries {
		e, err := wire.NewDecoder(wire.DecoderOptions{}).Decode(stream, entry.ID, []string{"event", entry.Values["event"].(string)})
		if err != nil {
			t.Fatalf("%v: %v", entry.Values, err)
		}
		out = append(out, e)
	}
	return out
}

// publishing has requests published to a stream of the test's own.
func publishing(env *testenv.RedisEnv) func(*Options) {
	return func(o *Options) {
		onRedis(env)(o)
		o.Publish, o.PublishStream, o.UserHeader, o.SessionHeader = true, []string{env.Prefix + ":events"}, "X-User", "X-Session"
	}
}

// TestPublish: what is let pass is published, with what the proxy says of it, and nothing else.
func TestPublish(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	blockIn(t, env, "ip", attacker, time.Minute)
	i := start(t, publishing(env))
	for _, tc := range []struct{ path, uri, method string }{
		{"/", "X-Forwarded-Uri", "X-Forwarded-Method"},
		{"/nginx", "X-Original-Uri", "X-Original-Method"},
		{"/traefik", "X-Forwarded-Uri", "X-Forwarded-Method"},
		{"/caddy", "X-Forwarded-Uri", "X-Forwarded-Method"},
		{"/haproxy", "X-Original-Uri", "X-Original-Method"},
	} {
		who := []string{"X-Forwarded-For", visitor, "X-User", "42", "X-Session", "s1"}
		if res := i.ask(tc.path, append(who, tc.uri, "/login?next=/", tc.method, "POST")...); res.status != 200 {
			t.Errorf("%s: %d", tc.path, res.status)
		}
		i.ask(tc.path, "X-Forwarded-For", attacker, tc.uri, "/blocked", tc.method, "POST")
	}
	i.ask("/envoy/login", "X-Forwarded-For", visitor)
	i.ask("/nginx", "X-Forwarded-For", visitor, "X-Original-Uri", "/"+strings.Repeat("x", 10_000))
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	events := published(t, env, env.Prefix+":events")
	if len(events) != 7 {
		t.Fatalf("%d events, want 7: %+v", len(events), events)
	}
	for n, e := range events {
		if e.Type != typeRequest || e.Scope("ip") != visitor || e.Member == e.ID {
			t.Errorf("event %+v", e)
		}
		if n < 5 && (e.Text("url.path") != "/login" || e.Text("http.request.method") != "POST" || e.Scope("user") != "42" || e.Scope("session") != "s1") {
			t.Errorf("event %+v", e)
		}
	}
	if e := events[5]; e.Text("url.path") != "/login" || e.Text("http.request.method") != "GET" || e.Scope("user") != "" {
		t.Errorf("Envoy's event %+v", e)
	}
	if n := len(events[6].Text("url.path")); n != maxPublished {
		t.Errorf("a path of %d bytes", n)
	}
}

// TestPublishUntrustedPeer: of a peer that isn't trusted there is its address.
func TestPublishUntrustedPeer(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	i := start(t, func(o *Options) {
		publishing(env)(o)
		o.TrustedProxies = nil
	})
	i.ask("/", "X-Forwarded-For", visitor, "X-User", "42", "X-Forwarded-Uri", "/login", "X-Forwarded-Method", "POST")
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	events := published(t, env, env.Prefix+":events")
	if len(events) != 1 || events[0].Scope("ip") != "127.0.0.1" || events[0].Scope("user") != "" || events[0].Text("url.path") != "" ||
		events[0].Text("http.request.method") != "" {
		t.Errorf("events %+v", events)
	}
}

// TestPublishProxyWithoutClient: what a trusted proxy names no client for, such as a balancer's
// health checks, is counted against no client, and against the user alone where there is one.
func TestPublishProxyWithoutClient(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	i := start(t, publishing(env))
	for _, path := range []string{"/", "/nginx", "/traefik", "/envoy/healthz"} {
		for _, header := range [][]string{
			nil,
			{"X-Forwarded-For", ""},
			{"X-Forwarded-For", "unknown"},
			{"X-Forwarded-For", "10.0.0.9"},
			{"X-Forwarded-For", "10.0.0.9, 127.0.0.1"},
			{"X-Forwarded-For", visitor + ", junk, 10.0.0.9"},
			{"X-Forwarded-For", "::ffff:10.0.0.9"},
			{"Connection", "X-Forwarded-For"},
		} {
			if res := i.ask(path, header...); res.status != 200 {
				t.Errorf("%s, %v: %d", path, header, res.status)
			}
		}
	}
	i.ask("/", "X-Forwarded-For", "10.0.0.9", "X-User", "42")
	metrics := i.ask("/metrics").body
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	events := published(t, env, env.Prefix+":events")
	if len(events) != 1 || events[0].Scope("ip") != "" || events[0].Scope("user") != "42" {
		t.Errorf("events %+v", events)
	}
	if want := `wardstream_ingress_publish_dropped_total{reason="no_client"} 32`; !strings.Contains(metrics, want) {
		t.Errorf("no %s in\n%s", want, metrics)
	}
}

// TestPublishDuringAnOutage: requests are answered all the same, and what is lost is counted.
func TestPublishDuringAnOutage(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	i := start(t, func(o *Options) {
		publishing(&env.RedisEnv)(o)
		o.PublishBuffer, o.Grace = 3, time.Second
	})
	env.Kill()
	for range 10 {
		if res := i.ask("/", "X-Forwarded-For", visitor); res.status != 200 {
			t.Errorf("status %d", res.status)
		}
	}
	text := i.ask("/metrics").body
	for _, want := range []string{
		`wardstream_ingress_publish_dropped_total{reason="full"} 7`, "wardstream_ingress_publish_queued 3", "wardstream_ingress_published_total 0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if lines := i.log.lines(t, "requests can't be published"); len(lines) != 1 || lines[0]["level"] != "WARN" {
			return fmt.Errorf("log lines %v", lines)
		}
		return nil
	})
	if err := i.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if lines := i.log.lines(t, "events were lost at the stop"); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["error"]), "3 events lost") {
		t.Errorf("at the stop, log lines %v", lines)
	}
}

// TestEvents: denials and failures reach standard output and the stream, one event for each scope.
func TestEvents(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	blockIn(t, env, "ip", attacker, time.Minute)
	if err := env.Client.Set(t.Context(), env.Prefix+":block:ip:"+visitor, "garbage", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.EventsStdout, o.EventsStream, o.Stdout = true, env.Prefix+":enforcement", &out
	})
	for range 20 {
		i.ask("/", "X-Forwarded-For", attacker)
		i.ask("/nginx", "X-Forwarded-For", visitor)
	}
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	blocked, failed := 0, 0
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		e, origin, err := wire.DecodeEnforcement([]byte(line))
		if err != nil || origin.Resource["service.name"] != "ingress-check" {
			t.Fatalf("line %s: %v", line, err)
		}
		switch {
		case e.Type == wire.TypeBlocked && e.Scope.Value == attacker && e.Rule == "secret-rule" && e.StatusCode == 429 && e.SourceAddress == attacker:
			blocked += e.Count
		case e.Type == wire.TypeEvaluationFailed && e.ErrorType == "corrupt" && e.FailMode == "open":
			failed += e.Count
		default:
			t.Errorf("line %s", line)
		}
		lines = append(lines, line)
	}
	if blocked != 20 || failed != 20 {
		t.Errorf("%d denials and %d failures are published, want 20 and 20", blocked, failed)
	}
	entries, err := env.Client.XRange(t.Context(), env.Prefix+":enforcement", "-", "+").Result()
	if err != nil || len(entries) != len(lines) {
		t.Fatalf("%d entries, %d lines: %v", len(entries), len(lines), err)
	}
	for n, entry := range entries {
		if entry.Values["event"] != lines[n] {
			t.Errorf("entry %v, line %s", entry.Values, lines[n])
		}
	}
}
