package ingress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

func TestFailMode(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	i := start(t, func(o *Options) {
		onRedis(&env.RedisEnv)(o)
		o.FailClosedPaths = []string{"^/pay(/|$)"}
		o.Message = "closed"
	})
	env.Kill()
	for name, tc := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"plain, open":                       {"/", []string{"X-Forwarded-Uri", "/x?next=/pay"}, 200},
		"plain, closed":                     {"/", []string{"X-Forwarded-Uri", "/pay/1?x=1"}, 429},
		"plain, path not known":             {"/", nil, 429},
		"plain, another proxy's header":     {"/", []string{"X-Original-Uri", "/x"}, 429},
		"traefik, open":                     {"/traefik", []string{"X-Forwarded-Uri", "/x"}, 200},
		"traefik, closed":                   {"/traefik", []string{"X-Forwarded-Uri", "/pay"}, 429},
		"caddy, closed, not clean":          {"/caddy", []string{"X-Forwarded-Uri", "/x/..//pay/"}, 429},
		"caddy, closed, encoded":            {"/caddy", []string{"X-Forwarded-Uri", "/%70ay"}, 429},
		"caddy, the query isn't the path":   {"/caddy?/x", []string{"X-Forwarded-Uri", "/pay"}, 429},
		"haproxy, open":                     {"/haproxy", []string{"X-Original-Uri", "/x"}, 200},
		"haproxy, closed":                   {"/haproxy", []string{"X-Original-Uri", "/pay"}, 429},
		"nginx, open":                       {"/nginx", []string{"X-Original-Uri", "/x"}, 200},
		"nginx, closed":                     {"/nginx", []string{"X-Original-Uri", "/pay"}, 403},
		"nginx, not that proxy's header":    {"/nginx", []string{"X-Forwarded-Uri", "/x"}, 403},
		"nginx, the client adds its own":    {"/nginx", []string{"X-Original-Uri", "/pay", "X-Original-Uri", "/x"}, 403},
		"nginx, a URI that can't be parsed": {"/nginx", []string{"X-Original-Uri", "/%zz"}, 403},
		"nginx, a whole URL":                {"/nginx", []string{"X-Original-Uri", "https://h/pay"}, 403},
		"ingress-nginx, open":               {"/ingress-nginx", []string{"X-Original-Url", "https://app.example/x?/pay"}, 200},
		"ingress-nginx, closed":             {"/ingress-nginx", []string{"X-Original-Url", "https://app.example/pay?x"}, 403},
		"ingress-nginx, host with a query":  {"/ingress-nginx", []string{"X-Original-Url", "https://app.example?/pay"}, 403},
		"envoy, open":                       {"/envoy/x", nil, 200},
		"envoy, closed":                     {"/envoy/pay/1", nil, 429},
		"envoy, closed, not clean":          {"/envoy/x/../pay", nil, 429},
		"envoy, a header says otherwise":    {"/envoy/pay", []string{"X-Forwarded-Uri", "/x", "X-Original-Uri", "/x"}, 429},
	} {
		res := i.ask(tc.path, append([]string{"X-Forwarded-For", visitor}, tc.header...)...)
		if res.status != tc.want || res.header.Get("Retry-After") != "" {
			t.Errorf("%s: %d, want %d", name, res.status, tc.want)
		}
		if tc.want == 429 && res.body != "closed" {
			t.Errorf("%s: another message", name)
		}
		if tc.want == 403 && (res.header.Get("X-Error-Status") != "429" || res.header.Get("X-Error-Body") != "closed") {
			t.Errorf("%s: header %v", name, res.header)
		}
	}
	if res := i.ask("/healthz"); res.status != 200 {
		t.Errorf("an outage of Redis makes it unhealthy: %d", res.status)
	}
	if res := i.ask("/readyz"); res.status != 200 {
		t.Errorf("an outage of Redis makes it unready: %d", res.status)
	}
	text := i.ask("/metrics").body
	for _, want := range []string{
		`wardstream_ingress_decisions_total{result="failed_open"} 6`, `wardstream_ingress_decisions_total{result="failed_closed"} 18`,
		`wardstream_ingress_errors_total{type="unavailable"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	checkReport(t, i)
	env.Restart()
	blockIn(t, &env.RedisEnv, "ip", attacker, time.Minute)
	testenv.Eventually(t, 30*time.Second, func() error {
		if res := i.ask("/", "X-Forwarded-For", attacker, "X-Forwarded-Uri", "/x"); res.status != 429 {
			return fmt.Errorf("status %d after Redis is back", res.status)
		}
		return nil
	})
}

// evaluationFailed is the event type of a check that could not be made (SPEC §9).
const evaluationFailed = "audit.enforcement.evaluation_failed"

// reported waits until failed checks are logged, and returns the lines that do.
func reported(t *testing.T, i *instance) (lines []map[string]any) {
	t.Helper()
	testenv.Eventually(t, 30*time.Second, func() error {
		if lines = i.log.lines(t, evaluationFailed); len(lines) == 0 {
			return errors.New("no failed check is logged")
		}
		return nil
	})
	return lines
}

// checkReport holds the shape of evaluation_failed in the log.
func checkReport(t *testing.T, i *instance) {
	t.Helper()
	testenv.Eventually(t, 30*time.Second, func() error {
		count, lines := 0.0, i.log.lines(t, evaluationFailed)
		for _, line := range lines {
			n, _ := line["enforcement.count"].(float64)
			if mode := line["enforcement.fail_mode"]; line["level"] != "ERROR" || line["event_type"] != evaluationFailed ||
				mode != "open" && mode != "closed" || line["error"] == "" {
				t.Fatalf("log line %v", line)
			}
			count += n
		}
		if count != 24 || len(lines) > 20 {
			return fmt.Errorf("%d lines report %v failures, want at most 20 lines for 24", len(lines), count)
		}
		return nil
	})
}

// TestUntrustedPeerAndFailClosed: a path that an untrusted peer claims is not known.
func TestUntrustedPeerAndFailClosed(t *testing.T) {
	t.Parallel()
	i := start(t, func(o *Options) {
		o.RedisURL, o.TrustedProxies, o.FailClosedPaths = "redis://"+testenv.ClosedPort(t), nil, []string{"^/pay"}
	})
	if res := i.ask("/", "X-Forwarded-Uri", "/x"); res.status != 429 {
		t.Errorf("status %d", res.status)
	}
	if got := i.log.lines(t, "store can't answer; the fail mode decides until it does"); len(got) != 1 || got[0]["store"] != "Redis" {
		t.Errorf("at start, log lines %v", got)
	}
}

func TestFailOpenIsTheDefault(t *testing.T) {
	t.Parallel()
	i := start(t, func(o *Options) { o.RedisURL = "redis://" + testenv.ClosedPort(t) })
	for _, path := range append(plainEndpoints(), "/nginx") {
		if res := i.ask(path); res.status != 200 {
			t.Errorf("%s: %d", path, res.status)
		}
	}
}

// TestStalledRedisTimesOut: it accepts and says nothing; the deadline decides. Without it
// the request would wait for an hour.
func TestStalledRedisTimesOut(t *testing.T) {
	t.Parallel()
	i := start(t, func(o *Options) {
		o.RedisURL, o.Timeout = "redis://"+testenv.Silent(t)+"?read_timeout=1h", 50*time.Millisecond
		o.FailClosedPaths = []string{"^/pay"}
	})
	for range 3 {
		if res := i.ask("/envoy/x"); res.status != 200 {
			t.Errorf("open path: %d", res.status)
		}
		if res := i.ask("/envoy/pay"); res.status != 429 {
			t.Errorf("closed path: %d", res.status)
		}
	}
	if text := i.ask("/metrics").body; !strings.Contains(text, `wardstream_ingress_errors_total{type="timeout"} 6`) {
		t.Errorf("no timeouts in\n%s", text)
	}
}

func TestCorruptValueAndColdHash(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.PermanentTier, o.FailClosedPaths = true, []string{"^/pay"}
	})
	if res := i.ask("/envoy/pay"); res.status != 429 {
		t.Errorf("cold, closed path: %d", res.status)
	}
	if err := env.Client.HSet(t.Context(), env.Prefix+":blocks:permanent", "complete", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if res := i.ask("/envoy/pay", "X-Forwarded-For", visitor); res.status != 200 {
		t.Errorf("complete, closed path: %d", res.status)
	}
	if err := env.Client.Set(t.Context(), env.Prefix+":block:ip:"+visitor, "garbage", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if res := i.ask("/envoy/pay", "X-Forwarded-For", visitor); res.status != 429 {
		t.Errorf("corrupt, closed path: %d", res.status)
	}
	if res := i.ask("/envoy/x", "X-Forwarded-For", visitor); res.status != 200 {
		t.Errorf("corrupt, open path: %d", res.status)
	}
	text := i.ask("/metrics").body
	for _, class := range []string{`{type="cold"} 1`, `{type="corrupt"} 2`} {
		if !strings.Contains(text, "wardstream_ingress_errors_total"+class) {
			t.Errorf("no error%s in\n%s", class, text)
		}
	}
}

// TestProxyWithoutClientAddress: its own address is looked up, and as the client is unknown, the
// fail mode decides.
func TestProxyWithoutClientAddress(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.FailClosedPaths = []string{"^/pay"}
	})
	for header, want := range map[string]int{"": 429, "unknown": 429, visitor + ", junk": 429, " , ": 429, "10.0.0.9": 200, visitor: 200} {
		if res := i.ask("/envoy/pay", "X-Forwarded-For", header); res.status != want {
			t.Errorf("%q, closed path: %d, want %d", header, res.status, want)
		}
		if res := i.ask("/envoy/x", "X-Forwarded-For", header); res.status != 200 {
			t.Errorf("%q, open path: %d", header, res.status)
		}
	}
	if res := i.ask("/envoy/pay", "Connection", "X-Forwarded-For"); res.status != 429 {
		t.Errorf("no header, closed path: %d", res.status)
	}
	text := i.ask("/metrics").body
	for _, want := range []string{
		`wardstream_ingress_errors_total{type="no_client"} 9`, "wardstream_ingress_client_is_proxy_total 2",
		`wardstream_ingress_decisions_total{result="failed_closed"} 5`, `wardstream_ingress_decisions_total{result="failed_open"} 4`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if lines := reported(t, i); lines[0]["error.type"] != "no_client" {
		t.Errorf("log lines %v", lines)
	}
	blockIn(t, env, "ip", "127.0.0.1", time.Minute)
	if res := i.ask("/envoy/x"); res.status != 429 {
		t.Errorf("the proxy is blocked: %d", res.status)
	}
}

// TestStartErrors: what no waiting will change stops ingress-check at its start.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	locked := testenv.PrivateRedis(t, "--requirepass", "hunter2")
	pg := testenv.Postgres(t)
	for want, change := range map[string]func(*Options){
		"ask Redis: give user and password in --redis-url": func(o *Options) { o.RedisURL = locked.URL },
		"ask Redis: give user and password":                func(o *Options) { o.RedisURL = strings.Replace(locked.URL, "//", "//:wrong@", 1) },
		"ask Postgres: run detector migrate":               func(o *Options) { o.PostgresURL = pg.URL },
	} {
		o := DefaultOptions()
		o.Addr = "127.0.0.1:0"
		change(&o)
		s, err := New(t.Context(), o, discard())
		if err == nil {
			s.Close()
			t.Errorf("%s: accepted", want)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	i := start(t, func(o *Options) { o.RedisURL = strings.Replace(locked.URL, "//", "//:hunter2@", 1) })
	if res := i.ask("/"); res.status != 200 {
		t.Errorf("with the password: %d", res.status)
	}
}

func TestErrorClass(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"no_client": checker.ErrNoClient, "ambiguous_identity": errAmbiguous, "busy": checker.ErrBusy, "corrupt": redislookup.ErrCorrupt,
		"cold": redislookup.ErrCold, "stalled": checker.ErrStalled, "timeout": context.DeadlineExceeded, "refused": &pgconn.PgError{Code: "42501"},
	} {
		if got := checker.ErrorClass(fmt.Errorf("look up: %w", errors.Join(err))); got != want {
			t.Errorf("the class of %v is %s, want %s", err, got, want)
		}
	}
	if got := checker.ErrorClass(redis.ErrClosed); got != "unavailable" {
		t.Errorf("of a closed client: %s", got)
	}
	if got := checker.ErrorClass(redis.Nil); got != "refused" {
		t.Errorf("of an answer of Redis: %s", got)
	}
}

// TestStopsGracefully: a request that waits for Redis gets its answer, and
// no other request gets in.
func TestStopsGracefully(t *testing.T) {
	t.Parallel()
	address, _ := silentRedis(t)
	i := start(t, func(o *Options) { o.RedisURL, o.Timeout = "redis://"+address, 500*time.Millisecond })
	conn, err := net.Dial("tcp", i.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	request := func() {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() int {
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // read to its end
		return res.StatusCode
	}
	request()
	if status := answer(); status != 200 {
		t.Errorf("the first request got %d", status)
	}
	request() // the connection is the server's already, so this one is under way
	stopped := make(chan error, 1)
	go func() { stopped <- i.stop() }()
	if status := answer(); status != 200 {
		t.Errorf("the request under way got %d", status)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
	if conn, err := net.Dial("tcp", i.server.Addr()); err == nil {
		_ = conn.Close()
		t.Error("it still listens")
	}
}

// silentRedis is a server that answers no request and reports each look-up of the visitor, not of
// those that ingress-check has of its own.
func silentRedis(t *testing.T) (string, <-chan struct{}) {
	t.Helper()
	asked := make(chan struct{}, 16)
	return testenv.Listen(t, func(conn net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			switch {
			case bytes.Contains(buf[:n], []byte("hello")): // or nothing else would be sent
				_, _ = conn.Write([]byte("-ERR unknown command 'hello'\r\n"))
			case bytes.Contains(buf[:n], []byte(visitor)):
				asked <- struct{}{}
			}
		}
	}), asked
}
