package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestDevBlocksWhatApplicationsPublish(t *testing.T) {
	t.Parallel()
	d := dev(t, DevOptions{})
	c := client(t, d)
	const address = "203.0.113.77"
	if got := ask(t, d, "X-Forwarded-For", address, userHeader, "42"); got != http.StatusOK {
		t.Fatalf("asked before anything happened: %d", got)
	}
	for range 5 {
		publish(t, c, "event_type", "auth.login.failed", "source.address", address, "user.name", "e\x1b[31mve\u009b")
	}
	if r := d.wait(t, typeFound, address); r.Rule != "brute_force_login" || r.Evidence["username"] != "e\x1b[31mve\u009b" {
		t.Errorf("found %+v", r)
	}
	if r := d.wait(t, typeBlocked, address); r.Permanent || r.TTL != 300 || r.ScopeType != "ip" {
		t.Errorf("blocked %+v", r)
	}
	publish(t, c, "event_type", "model.update", "user.id", "42", "changed_fields", `["role"]`)
	if r := d.wait(t, typeBlocked, "42"); !r.Permanent || r.Rule != "sensitive_field_change" {
		t.Errorf("blocked %+v", r)
	}
	for _, tt := range []struct {
		headers []string
		want    int
	}{
		{[]string{"X-Forwarded-For", address}, 429},
		{[]string{"X-Forwarded-For", "203.0.113.78"}, 200},
		{[]string{"X-Forwarded-For", "203.0.113.78", userHeader, "42"}, 429},
		{[]string{"X-Forwarded-For", "203.0.113.78", userHeader, "43"}, 200},
		{[]string{"X-Forwarded-For", "203.0.113.78", sessionHeader, "42", usernameHeader, "42"}, 200},
	} {
		if got := ask(t, d, tt.headers...); got != tt.want {
			t.Errorf("asked with %q: %d, want %d", tt.headers, got, tt.want)
		}
	}
}

// TestDevAppliesOperatorUnblock: what another process lifts in Redis is lifted in memory, too.
func TestDevAppliesOperatorUnblock(t *testing.T) {
	t.Parallel()
	d := dev(t, DevOptions{})
	c := client(t, d)
	scope := checker.Scope{Type: checker.ScopeUser, Value: "7"}
	raw, err := wire.EncodeEnforcement(wire.Enforcement{
		Type: wire.TypeBlockRevoked, Scope: scope, RevokedBy: "ann", Reason: "a mistake", Time: time.Now(),
	}, wire.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	for _, fields := range [][]string{{"other", "stuff"}, {"event", "{"}, {"event", string(raw)}} {
		if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "audit:enforcement", Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if r := d.wait(t, typeRevoked, "7"); r.By != "ann" || r.Reason != "a mistake" || r.ScopeType != "user" {
		t.Errorf("revoked %+v", r)
	}
}

func TestDevUnblockReachesMemory(t *testing.T) {
	t.Parallel()
	w, err := newWorld(t.Context(), quietConfig(t), place{redisAddr: "127.0.0.1:0", ingressAddr: "127.0.0.1:0", log: output(io.Discard).Log})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	scope := checker.Scope{Type: checker.ScopeUser, Value: "7"}
	held := func() int {
		blocks, err := w.durable.Lookup(ctx, []checker.Scope{scope})
		if err != nil {
			t.Fatal(err)
		}
		return len(blocks)
	}
	publish(t, w.client, "event_type", "model.update", "user.id", "7", "changed_fields", "email")
	testenv.Eventually(t, 30*time.Second, func() error {
		if held() == 0 {
			return errNotYet
		}
		return nil
	})
	if err := w.obey(ctx, sighting{Enforcement: wire.Enforcement{Type: wire.TypeBlockApplied, Scope: scope, Time: time.Now()}}); err != nil || held() != 1 {
		t.Errorf("another event lifted the block, or %v", err)
	}
	if err := w.obey(ctx, sighting{Enforcement: wire.Enforcement{Type: wire.TypeBlockRevoked, Scope: scope, Time: time.Now()}}); err != nil || held() != 0 {
		t.Errorf("the block is still held, or %v", err)
	}
}

var errNotYet = errors.New("not yet")

// TestDevUsesConfiguredRules: a file's rules and actions count, its addresses don't.
func TestDevUsesConfiguredRules(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.yaml")
	err := os.WriteFile(file, []byte(`
redis: {url: "redis://nowhere.invalid:1/0"}
postgres: {url: "postgres://nowhere.invalid/x"}
key_prefix: own
stream: {names: ["own:events"], block: 100ms}
rules:
  - {name: brute_force_login, threshold: 3}
  - name: request_body_threshold
actions:
  brute_force_login: {action: temp_block, scopes: [ip], ttl: 7m, status_code: 403}
  request_body_threshold: alert
events: {stdout: true, stream: ""}
http: {addr: ""}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := dev(t, DevOptions{Config: cfg})
	if d.head.Metrics != "" || d.head.Stream != "own:events" || len(d.head.Rules) != 2 || len(d.head.Notes) != 2 ||
		!strings.Contains(d.head.Notes[0]+d.head.Notes[1], "postgres.url of "+file+" is not used") {
		t.Errorf("head %+v", d.head)
	}
	if !strings.HasPrefix(d.head.Publish, "for i in $(seq 3); do redis-cli ") || !strings.Contains(d.head.Publish, " XADD own:events ") {
		t.Errorf("to paste: %s", d.head.Publish)
	}
	if got := withoutPrograms(t, d.head.Publish); strings.Count(got, "-") != 3 {
		t.Errorf("it comes to %q", got)
	}
	if r := d.wait(t, typeBlocked, guestAddress); r.TTL != 420 {
		t.Errorf("blocked %+v", r)
	}
	if got := ask(t, d, "X-Forwarded-For", guestAddress); got != http.StatusForbidden {
		t.Errorf("denied with %d", got)
	}
	c := client(t, d)
	err = c.XAdd(t.Context(), &redis.XAddArgs{Stream: "own:events", Values: []string{
		"event_type", "audit.http.request.pre", "source.address", "203.0.113.9", "request.body.amount", "10001",
	}}).Err()
	if err != nil {
		t.Fatal(err)
	}
	if r := d.wait(t, typeAlert, ""); r.Rule != "request_body_threshold" || r.Address != "203.0.113.9" || r.Reason == "" {
		t.Errorf("alert %+v", r)
	}
}

func TestAddressInUseIsRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for flag, o := range map[string]DevOptions{
		"--redis-addr":   {RedisAddr: taken, IngressAddr: "127.0.0.1:0"},
		"--ingress-addr": {RedisAddr: "127.0.0.1:0", IngressAddr: taken},
	} {
		o.Output = output(io.Discard)
		err := Dev(t.Context(), o)
		if err == nil || !strings.HasPrefix(err.Error(), flag+": ") || !strings.HasSuffix(err.Error(), "; name another address") {
			t.Errorf("%s: %v", flag, err)
		}
	}
	// A default that is taken is another matter. That of the metrics is the configuration's.
	cfg := &config.Config{HTTP: config.HTTP{Addr: taken}}
	where := place{redisAddr: "127.0.0.1:0", ingressAddr: "127.0.0.1:0"}
	notes, err := where.choose(cfg)
	if err != nil || len(notes) != 1 || !strings.HasPrefix(notes[0], taken+" is taken") || cfg.HTTP.Addr != "127.0.0.1:0" {
		t.Errorf("%q, %q, %v", cfg.HTTP.Addr, notes, err)
	}
	if where.redisAddr != "127.0.0.1:0" {
		t.Errorf("a free address was replaced by %s", where.redisAddr)
	}
}

// TestDefaultAddresses: a default address that is in use is replaced by any free port, with a
// notice.
func TestDefaultAddresses(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{HTTP: config.HTTP{Addr: "127.0.0.1:9090"}}
	where := place{}
	notes, err := where.choose(cfg)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := 0
	for addr, preferred := range map[string]string{
		where.redisAddr: "127.0.0.1:6379", where.ingressAddr: "127.0.0.1:8080", cfg.HTTP.Addr: "127.0.0.1:9090",
	} {
		switch addr {
		case preferred:
		case "127.0.0.1:0":
			elsewhere = len(notes)
		default:
			t.Errorf("%s instead of %s", addr, preferred)
		}
	}
	if elsewhere != len(notes) {
		t.Errorf("notes %q", notes)
	}
	cfg.HTTP.Addr = ""
	if _, err := where.choose(cfg); err != nil || cfg.HTTP.Addr != "" {
		t.Errorf("no metrics were wanted, but %q, %v", cfg.HTTP.Addr, err)
	}
}
