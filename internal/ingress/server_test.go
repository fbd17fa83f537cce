package ingress

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/schema"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// An instance is a server under test. Its requests come from 127.0.0.1.
type instance struct {
	t      testing.TB
	server *Server
	log    *logBuffer
	stop   func() error // ends Run and returns its error
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// lines returns the log lines so far whose message is msg.
func (b *logBuffer) lines(t testing.TB, msg string) []map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []map[string]any
	for line := range strings.Lines(b.buf.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if entry["msg"] == msg {
			out = append(out, entry)
		}
	}
	return out
}

// start runs a server with the options that change makes of a test's defaults.
func start(t testing.TB, change func(*Options)) *instance {
	t.Helper()
	o := DefaultOptions()
	o.Addr, o.TrustedProxies = "127.0.0.1:0", []string{"127.0.0.0/8", "10.0.0.0/8"}
	o.Timeout = 5 * time.Second // the machine may be busy
	change(&o)
	i := &instance{t: t, log: &logBuffer{}}
	s, err := New(t.Context(), o, slog.New(slog.NewJSONHandler(i.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	i.server = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	i.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = i.stop() })
	return i
}

// A response is an answer, read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// ask sends a request as a proxy would, with header lines in pairs.
func (i *instance) ask(path string, header ...string) response {
	i.t.Helper()
	return get(i.t, "http://"+i.server.Addr()+path, header...)
}

func get(t testing.TB, url string, header ...string) response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		name := textproto.CanonicalMIMEHeaderKey(header[n])
		r.Header[name] = append(r.Header[name], header[n+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res.StatusCode, res.Header, string(raw)}
}

// blockIn writes a temporary block, or a permanent one, as detectors do.
func blockIn(t testing.TB, env *testenv.RedisEnv, typ, value string, ttl time.Duration) {
	t.Helper()
	keys := rediskey.Keys{Prefix: env.Prefix}
	b := checker.Block{
		Scope: checker.Scope{Type: typ, Value: value}, Rule: "secret-rule", Reason: "secret-reason", StatusCode: 429, Message: "slow down",
		CreatedAt: time.Now(),
	}
	if ttl == 0 {
		b.StatusCode, b.Message = 403, "go away"
		raw, err := wire.EncodeMember(b)
		if err == nil {
			err = env.Client.HSet(t.Context(), keys.Permanent(), rediskey.MemberField(b.Scope), raw).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	b.ExpiresAt = time.Now().Add(ttl)
	raw, err := wire.EncodeBlock(b)
	if err == nil {
		err = env.Client.Set(t.Context(), keys.Block(b.Scope), raw, ttl).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func onRedis(env *testenv.RedisEnv) func(*Options) {
	return func(o *Options) { o.RedisURL, o.KeyPrefix = env.URL, env.Prefix }
}

const visitor, attacker, exile = "198.51.100.7", "203.0.113.9", "203.0.113.10"

// blocked returns a Redis in which the attacker has a temporary and the exile
// a permanent block.
func blocked(t testing.TB) *testenv.RedisEnv {
	t.Helper()
	env := testenv.Redis(t)
	blockIn(t, env, "ip", attacker, time.Minute)
	blockIn(t, env, "ip", exile, 0)
	return env
}

func plainEndpoints() []string {
	return []string{"/", "/traefik", "/caddy", "/haproxy", "/envoy/", "/envoy/shop/cart", "/?x=1", "/caddy?a=b"}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	i := start(t, onRedis(blocked(t)))
	for _, path := range append(plainEndpoints(), "/nginx", "/ingress-nginx") {
		res := i.ask(path, "X-Forwarded-For", visitor)
		if res.status != http.StatusOK || res.body != "" {
			t.Errorf("%s: %d", path, res.status)
		}
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	i := start(t, onRedis(blocked(t)))
	for _, path := range plainEndpoints() {
		res := i.ask(path, "X-Forwarded-For", attacker)
		text := res.body
		retry := res.header.Get("Retry-After")
		if res.status != 429 || text != "slow down" || (retry != "60" && retry != "59") ||
			res.header.Get("Cache-Control") != "no-store" || res.header.Get(checker.HeaderDenied) != "true" || res.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s, temporary: %d %q %v", path, res.status, text, res.header)
		}
		res = i.ask(path, "X-Forwarded-For", exile)
		if text = res.body; res.status != 403 || text != "go away" || res.header["Retry-After"] != nil {
			t.Errorf("%s, permanent: %d %q %v", path, res.status, text, res.header)
		}
	}
}

func TestDeniedForNginx(t *testing.T) {
	t.Parallel()
	i := start(t, onRedis(blocked(t)))
	for _, path := range []string{"/nginx", "/ingress-nginx"} {
		deniedForNginx(t, i, path)
	}
}

func deniedForNginx(t *testing.T, i *instance, path string) {
	t.Helper()
	res := i.ask(path, "X-Forwarded-For", attacker)
	h := res.header
	if retry := h.Get("Retry-After"); res.status != 403 || h.Get("X-Error-Status") != "429" || h.Get("X-Error-Body") != "slow down" ||
		(retry != "60" && retry != "59") || h.Get("Cache-Control") != "no-store" || h.Get(checker.HeaderDenied) != "true" {
		t.Fatalf("temporary: %d %v", res.status, h)
	}
	res = i.ask(path, "X-Forwarded-For", exile)
	if h = res.header; res.status != 403 || h.Get("X-Error-Status") != "403" || h.Get("X-Error-Body") != "go away" || h["Retry-After"] != nil {
		t.Fatalf("permanent: %d %v", res.status, h)
	}
}

func TestHeaderText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain": "plain", "a\r\nX-Evil: 1\x00\x7f\tb": "a  X-Evil: 1   b", "größer": "größ", "1234567": "123456",
	} {
		if got := headerText(text, 6); got != want && text != "a\r\nX-Evil: 1\x00\x7f\tb" {
			t.Errorf("headerText(%q) = %q, want %q", text, got, want)
		}
		if got := headerText(text, 100); strings.ContainsAny(got, "\r\n\x00\x7f\t") {
			t.Errorf("headerText(%q) = %q", text, got)
		}
	}
}

// TestSpoofing asks every endpoint on behalf of a blocked client that claims
// to be another, in every way there is.
func TestSpoofing(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	trusting := start(t, onRedis(env))
	for name, header := range map[string][]string{
		"a claim to the left":          {"X-Forwarded-For", visitor + ", " + attacker},
		"a claim on a line of its own": {"X-Forwarded-For", visitor, "X-Forwarded-For", attacker},
		"a claim to be a proxy":        {"X-Forwarded-For", "10.0.0.9, " + attacker},
		"with the port":                {"X-Forwarded-For", attacker + ":4711"},
		"mapped":                       {"X-Forwarded-For", "::ffff:" + attacker},
		"through another proxy":        {"X-Forwarded-For", visitor + ", " + attacker + ", 10.0.0.2"},
		"garbage to the left":          {"X-Forwarded-For", "\xff, " + strings.Repeat("x,", 1000) + attacker},
		"other headers": {
			"X-Forwarded-For", attacker, "X-Real-Ip", visitor, "Forwarded", "for=" + visitor, "X_Forwarded_For", visitor, "X-Original-Forwarded-For", visitor,
			"True-Client-Ip", visitor, "Cf-Connecting-Ip", visitor, "X-Client-Ip", visitor, "X-Envoy-External-Address", visitor, "Connection", "X-Forwarded-For",
		},
		"identities that are not configured": {"X-Forwarded-For", attacker, "X-Auth-User-Id", "admin"},
		"a health checker":                   {"X-Forwarded-For", attacker, "User-Agent", "kube-probe/1.30"},
		"a path that says nothing":           {"X-Forwarded-For", attacker, "X-Forwarded-Uri", "/healthz", "X-Original-Uri", "/healthz", "X-Original-Url", "http://h/healthz"},
	} {
		for _, path := range append(plainEndpoints(), "/nginx", "/ingress-nginx", "/envoy/healthz", "/envoy/metrics", "/envoy//healthz", "/envoy/../healthz") {
			if res := trusting.ask(path, header...); res.status != 429 && res.status != 403 {
				t.Errorf("%s, %s: %d", name, path, res.status)
			}
		}
	}
}

// TestUntrustedPeerIsTheClient: nothing it says is believed, neither to accuse nor to
// excuse any client.
func TestUntrustedPeerIsTheClient(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	blockIn(t, env, "user", "42", time.Minute)
	distrusting := start(t, func(o *Options) {
		onRedis(env)(o)
		o.TrustedProxies, o.UserHeader = nil, "X-User"
	})
	if res := distrusting.ask("/", "X-Forwarded-For", attacker, "X-User", "42"); res.status != 200 {
		t.Errorf("a claim accuses another: %d", res.status)
	}
	if got := distrusting.log.lines(t, "the client that a peer names is ignored: it is not in trusted_proxies"); len(got) != 1 {
		t.Errorf("log lines %v", got)
	}
	blockIn(t, env, "ip", "127.0.0.1", time.Minute)
	if res := distrusting.ask("/", "X-Forwarded-For", visitor); res.status != 429 {
		t.Errorf("a claim excuses the peer: %d", res.status)
	}
}

func TestTrustedProxyCount(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.TrustedProxyCount = 2
	})
	for header, want := range map[string]int{
		visitor + ", " + attacker + ", 10.0.0.2": 429, attacker + ", " + visitor + ", 10.0.0.2": 200,
		attacker + ", " + visitor: 200, attacker: 200, attacker + ", junk": 200,
	} {
		if res := i.ask("/", "X-Forwarded-For", header); res.status != want {
			t.Errorf("%s: %d, want %d", header, res.status, want)
		}
	}
}

// TestClientHeader: one header is read, the configured one.
func TestClientHeader(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	for header, attack := range map[string]string{
		"forwarded": `for=6.6.6.6, for="` + attacker + `:55";proto=https`, "X-Real-IP": attacker, "CF-Connecting-IP": attacker,
	} {
		i := start(t, func(o *Options) {
			onRedis(env)(o)
			o.ClientHeader = header
		})
		if res := i.ask("/", header, attack, "X-Forwarded-For", visitor); res.status != 429 {
			t.Errorf("%s: %d", header, res.status)
		}
		if res := i.ask("/", header, strings.ReplaceAll(attack, attacker, visitor), "X-Forwarded-For", attacker); res.status != 200 {
			t.Errorf("X-Forwarded-For is read besides %s: %d", header, res.status)
		}
	}
}

func TestIdentityHeaders(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	for _, typ := range []string{"user", "username", "session"} {
		blockIn(t, env, typ, "bad", time.Minute)
	}
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.UserHeader, o.UsernameHeader, o.SessionHeader = "x-user", "X-Name", "X-Session"
		o.FailClosedPaths = []string{"^/pay"}
	})
	for name, want := range map[string]int{"X-User": 429, "X-Name": 429, "X-Session": 429, "X_User": 200, "X-Other": 200} {
		if res := i.ask("/", "X-Forwarded-For", visitor, name, " bad "); res.status != want {
			t.Errorf("%s: %d, want %d", name, res.status, want)
		}
	}
	twice := []string{"X-Forwarded-For", visitor, "X-User", "good", "X-User", "better", "X-Forwarded-Uri"}
	if res := i.ask("/", append(twice, "/pay")...); res.status != 429 {
		t.Errorf("an identity given twice, closed path: %d", res.status)
	}
	if res := i.ask("/", append(twice, "/x")...); res.status != 200 {
		t.Errorf("an identity given twice, open path: %d", res.status)
	}
}

func TestPostgresAlone(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	insert(t, env, attacker)
	i := start(t, func(o *Options) { o.PostgresURL = env.URL })
	if res := i.ask("/", "X-Forwarded-For", attacker); res.status != 403 || res.body != "go away" {
		t.Errorf("blocked: %d", res.status)
	}
	if res := i.ask("/", "X-Forwarded-For", visitor); res.status != 200 {
		t.Errorf("allowed: %d", res.status)
	}
}

// TestColdHashAsksPostgres: what Redis has lost, Postgres knows.
func TestColdHashAsksPostgres(t *testing.T) {
	t.Parallel()
	rdb, pg := testenv.Redis(t), migrated(t)
	insert(t, pg, attacker)
	i := start(t, func(o *Options) {
		onRedis(rdb)(o)
		o.PostgresURL = pg.URL
	})
	if res := i.ask("/", "X-Forwarded-For", attacker); res.status != 403 {
		t.Errorf("hash missing: %d", res.status)
	}
	keys := rediskey.Keys{Prefix: rdb.Prefix}
	if err := rdb.Client.HSet(t.Context(), keys.Permanent(), rediskey.CompleteField, "1").Err(); err != nil {
		t.Fatal(err)
	}
	if res := i.ask("/", "X-Forwarded-For", attacker); res.status != 200 {
		t.Errorf("hash complete and without it: %d", res.status)
	}
}

func migrated(t testing.TB) *testenv.PostgresEnv {
	t.Helper()
	env := testenv.Postgres(t)
	db := stdlib.OpenDBFromPool(env.Pool)
	defer db.Close()
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return env
}

func insert(t testing.TB, env *testenv.PostgresEnv, ip string) {
	t.Helper()
	_, err := env.Pool.Exec(t.Context(), `INSERT INTO permanent_blocks (scope_type, scope_value, status_code, message) VALUES ('ip', $1, 403, 'go away')`, ip)
	if err != nil {
		t.Fatal(err)
	}
}
