package httppublish_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
	"github.com/wardstream/wardstream/pkg/publisher"
	"github.com/wardstream/wardstream/pkg/publisher/httppublish"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// A site is a server whose responses are published.
type site struct {
	t         *testing.T
	env       *testenv.RedisEnv
	publisher *publisher.Publisher
	server    *httptest.Server
}

func serve(t *testing.T, h http.Handler, opts ...httppublish.Option) *site {
	t.Helper()
	s := &site{t: t, env: testenv.Redis(t)}
	s.publisher = publisher.New(s.env.Client, publisher.WithStreams(s.env.Prefix+":events"))
	s.server = httptest.NewUnstartedServer(httppublish.Middleware(s.publisher, opts...)(h))
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // panics of handlers
	s.server.Start()
	t.Cleanup(s.server.Close)
	return s
}

// get sends a request with header lines in pairs. A handler that panics gives no answer.
func (s *site) get(path string, header ...string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.server.URL+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	if res, err := http.DefaultTransport.RoundTrip(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// published ends the site and returns its events as the detector reads them.
func (s *site) published() []event.Event {
	s.t.Helper()
	s.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.publisher.Close(ctx); err != nil {
		s.t.Fatal(err)
	}
	entries, err := s.env.Client.XRange(ctx, s.env.Prefix+":events", "-", "+").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	var out []event.Event
	for _, entry := range entries {
		e, err := wire.NewDecoder(wire.DecoderOptions{}).Decode("s", entry.ID, []string{"event", entry.Values["event"].(string)})
		if err != nil {
			s.t.Fatalf("%v: %v", entry.Values, err)
		}
		out = append(out, e)
	}
	return out
}

// one is the only event that was published.
func (s *site) one() event.Event {
	s.t.Helper()
	events := s.published()
	if len(events) != 1 {
		s.t.Fatalf("%d events, want 1: %+v", len(events), events)
	}
	return events[0]
}

func want(t *testing.T, e event.Event, attributes map[string]string) {
	t.Helper()
	for name, text := range attributes {
		if got := e.Text(name); got != text {
			t.Errorf("%s is %q, want %q", name, got, text)
		}
	}
}

func TestResponseTypes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		typ     string
		status  string
	}{
		"nothing written":   {func(http.ResponseWriter, *http.Request) {}, httppublish.TypeSuccess, "200"},
		"body alone":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }, httppublish.TypeSuccess, "200"},
		"no content":        {status(204), httppublish.TypeSuccess, "204"},
		"redirect":          {status(302), httppublish.TypeRedirect, "302"},
		"client error":      {status(404), httppublish.TypeClientError, "404"},
		"server error":      {status(503), httppublish.TypeServerError, "503"},
		"the first counts":  {status(404, 200), httppublish.TypeClientError, "404"},
		"hints don't count": {status(103, 404), httppublish.TypeClientError, "404"},
		"panic":             {func(http.ResponseWriter, *http.Request) { panic("x") }, httppublish.TypeServerError, "500"},
		"panic after a status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			panic("x")
		}, httppublish.TypeClientError, "404"},
		"panic after a body": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "x")
			panic(http.ErrAbortHandler)
		}, httppublish.TypeSuccess, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tc.handler)
			s.get("/x")
			e := s.one()
			if e.Type != tc.typ {
				t.Errorf("type %s, want %s", e.Type, tc.typ)
			}
			want(t, e, map[string]string{"http.response.status_code": tc.status, "url.path": "/x", "http.request.method": "GET"})
		})
	}
}

func status(codes ...int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, code := range codes {
			w.WriteHeader(code)
		}
	}
}

func TestRoutesOfTheStandardMux(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	for _, pattern := range []string{"GET /users/{id}", "/files/{path...}", "GET example.com/host/{id}", "/{$}", "/static/"} {
		mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	}
	s := serve(t, mux)
	routes := map[string]string{
		"/users/42": "/users/{id}", "/files/a/b": "/files/{path...}", "/": "/", "/static/x.js": "/static/", "/nowhere": "",
	}
	for path := range routes {
		s.get(path)
	}
	events := s.published()
	for _, e := range events {
		path := e.Text("url.path")
		want(t, e, map[string]string{"http.route": routes[path]})
		if missing := e.Text("http.response.status_code") == "404"; missing != (path == "/nowhere") {
			t.Errorf("%s: %+v", path, e)
		}
	}
	if len(events) != len(routes) {
		t.Errorf("%d events", len(events))
	}
	r := httptest.NewRequest(http.MethodGet, "http://example.com/host/1", nil)
	mux.ServeHTTP(httptest.NewRecorder(), r)
	if got := httppublish.Pattern(r); got != "/host/{id}" {
		t.Errorf("with a host, the route is %q", got)
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	proxies, err := checker.ParseTrustedProxies([]string{"127.0.0.0/8"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	forwarded := proxies
	forwarded.Header = checker.HeaderForwarded
	fill := httppublish.WithSubject(func(r *http.Request, s *checker.Subject) {
		if s.Path != "/x" || !s.IP.IsValid() {
			t.Errorf("the subject comes as %+v", s)
		}
		s.User, s.Username, s.Session = "42", "eve", r.Header.Get("Session")
	})
	for name, tc := range map[string]struct {
		opts []httppublish.Option
		want map[string]string
		tp   string
	}{
		"no trusted proxy": {nil, map[string]string{"source.address": "127.0.0.1", "user.id": "", "session.id": ""}, trace},
		"trusted proxy":    {[]httppublish.Option{httppublish.WithTrustedProxies(proxies)}, map[string]string{"source.address": "203.0.113.9"}, trace},
		"another header":   {[]httppublish.Option{httppublish.WithTrustedProxies(forwarded)}, map[string]string{"source.address": "203.0.113.10"}, trace},
		"subject":          {[]httppublish.Option{fill}, map[string]string{"user.id": "42", "user.name": "eve", "session.id": "s1"}, trace},
		"an address of the application's": {[]httppublish.Option{httppublish.WithSubject(func(_ *http.Request, s *checker.Subject) {
			s.IP = netip.MustParseAddr("::ffff:198.51.100.7")
		})}, map[string]string{"source.address": "198.51.100.7"}, trace},
		"own trace": {[]httppublish.Option{httppublish.WithTraceParent(func(*http.Request) string { return "" })}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, status(200), tc.opts...)
			s.get("/x?q=1", "X-Forwarded-For", "6.6.6.6, 203.0.113.9", "Forwarded", "for=203.0.113.10", "Session", "s1", "Traceparent", trace, "X-Real-Ip", "6.6.6.6")
			e := s.one()
			want(t, e, tc.want)
			if e.TraceParent != tc.tp {
				t.Errorf("traceparent %q", e.TraceParent)
			}
		})
	}
}

// TestProxyAddressesAreNotPublished: a request that a trusted proxy names no client for has no
// address, so that no rule counts it against the proxy.
func TestProxyAddressesAreNotPublished(t *testing.T) {
	t.Parallel()
	proxies, err := checker.ParseTrustedProxies([]string{"127.0.0.0/8", "10.0.0.0/8"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range [][]string{
		nil, {"X-Forwarded-For", "unknown"}, {"X-Forwarded-For", "10.0.0.9"}, {"X-Forwarded-For", "10.0.0.9, 127.0.0.1"}, {"X-Forwarded-For", "203.0.113.9, junk"},
	} {
		s := serve(t, status(200), httppublish.WithTrustedProxies(proxies))
		s.get("/health", header...)
		want(t, s.one(), map[string]string{"source.address": "", "url.path": "/health"})
	}
}

func TestRequestsSkipAndAmend(t *testing.T) {
	t.Parallel()
	s := serve(t, status(200), httppublish.WithRequests(),
		httppublish.WithRoute(func(r *http.Request) string { return "/own" + r.URL.Path }),
		httppublish.WithSkip(func(r *http.Request) bool { return r.URL.Path == "/healthz" }),
		httppublish.WithSkip(func(r *http.Request) bool { return r.URL.Path == "/metrics" }),
		httppublish.WithEvent(func(r *http.Request, e *publisher.Event) {
			e.Attributes["tenant.id"] = r.Header.Get("Tenant")
			delete(e.Attributes, "http.request.method")
		}))
	s.get("/healthz")
	s.get("/metrics")
	s.get("/x", "Tenant", "acme")
	events := s.published()
	if len(events) != 2 || events[0].Type != httppublish.TypeRequest || events[1].Type != httppublish.TypeSuccess {
		t.Fatalf("events %+v", events)
	}
	for _, e := range events {
		want(t, e, map[string]string{"tenant.id": "acme", "http.request.method": "", "url.path": "/x", "source.address": "127.0.0.1"})
	}
	want(t, events[0], map[string]string{"http.route": "", "http.response.status_code": ""})
	want(t, events[1], map[string]string{"http.route": "/own/x"})
}

// TestHostileRequests: events stay small and readable, whatever a client sends.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := serve(t, status(404))
	s.get("/"+strings.Repeat("x", 100_000), "Traceparent", strings.Repeat("0", 10_000))
	s.get("/%00%ff")
	events := s.published()
	if len(events) != 2 || len(events[0].Text("url.path")) != 4096 || events[0].TraceParent != "" {
		t.Fatalf("%d events, a path of %d bytes", len(events), len(events[0].Text("url.path")))
	}
	want(t, events[1], map[string]string{"url.path": "/\uFFFD\uFFFD", "http.response.status_code": "404"})
}

// TestResponseWriterKeepsItsInterfaces: over a real connection.
func TestResponseWriterKeepsItsInterfaces(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/flush", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
	})
	mux.HandleFunc("/control", func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("set write deadline: %v", err)
		}
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Errorf("full duplex: %v", err)
		}
	})
	mux.HandleFunc("/copy", func(w http.ResponseWriter, _ *http.Request) {
		if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("body")); n != 4 || err != nil {
			t.Errorf("read from: %d, %v", n, err)
		}
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nhello")
		_ = buf.Flush()
		_ = conn.Close()
	})
	s := serve(t, mux)
	for _, path := range []string{"/flush", "/control", "/copy"} {
		s.get(path)
	}
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
	if answer, err := io.ReadAll(bufio.NewReader(conn)); err != nil || !strings.HasSuffix(string(answer), "hello") {
		t.Errorf("over the hijacked connection came %q, %v", answer, err)
	}
	testenv.Eventually(t, 30*time.Second, func() error { // the handler may run still
		if stats := s.publisher.Stats(); stats.Published != 4 {
			return fmt.Errorf("stats %+v", stats)
		}
		return nil
	})
	for _, e := range s.published() {
		status := map[bool]string{true: "101", false: "200"}[e.Text("url.path") == "/hijack"]
		want(t, e, map[string]string{"http.response.status_code": status})
		if e.Type != httppublish.TypeSuccess {
			t.Errorf("event %+v", e)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	s := serve(t, status(200))
	s.get("/x")
	e := s.one()
	var took int64
	if _, err := fmt.Sscan(e.Text("duration_ns"), &took); err != nil || took <= 0 || took > int64(time.Minute) {
		t.Errorf("duration %q: %v", e.Text("duration_ns"), err)
	}
}

// TestBlockedRequestsAreNotPublished: with the checker outside, its denials feed nothing.
func TestBlockedRequestsAreNotPublished(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	p := publisher.New(env.Client, publisher.WithStreams(env.Prefix+":events"))
	c := checker.New(redislookup.New(env.Client, redislookup.WithKeyPrefix(env.Prefix)), checker.WithTimeout(30*time.Second))
	h := httpcheck.Middleware(c)(httppublish.Middleware(p)(status(404)))
	scope, _ := checker.NewScope(checker.ScopeIP, "203.0.113.9")
	raw, err := wire.EncodeBlock(checker.Block{Scope: scope, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute)})
	if err == nil {
		err = env.Client.Set(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Block(scope), raw, time.Minute).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	for peer, code := range map[string]int{"203.0.113.9:1": 429, "203.0.113.10:1": 404} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil)
		r.RemoteAddr = peer
		if h.ServeHTTP(w, r); w.Code != code {
			t.Errorf("%s got %d", peer, w.Code)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil || p.Stats().Published != 1 {
		t.Errorf("stats %+v, %v; want the 404 alone", p.Stats(), err)
	}
}

// TestDenialsInsideAreMarked: with the checker inside, its denials are published as what they are,
// also where the application answers in its own way; the application's errors are not.
func TestDenialsInsideAreMarked(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	c := checker.New(redislookup.New(env.Client, redislookup.WithKeyPrefix(env.Prefix)), checker.WithTimeout(30*time.Second))
	scope, _ := checker.NewScope(checker.ScopeIP, "127.0.0.1")
	raw, err := wire.EncodeBlock(checker.Block{Scope: scope, StatusCode: 403, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute)})
	if err == nil {
		err = env.Client.Set(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Block(scope), raw, time.Minute).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	own := httpcheck.WithDenied(func(w http.ResponseWriter, _ *http.Request, _ checker.Decision) {
		http.Error(w, "no", http.StatusTeapot)
	})
	for name, tc := range map[string]struct {
		handler http.Handler
		status  string
		denied  string
	}{
		"a denial":            {httpcheck.Middleware(c)(status(200)), "403", "true"},
		"a denial of its own": {httpcheck.Middleware(c, own)(status(200)), "418", "true"},
		"an error":            {status(403), "403", ""},
	} {
		s := serve(t, tc.handler)
		s.get("/x")
		e := s.one()
		want(t, e, map[string]string{"http.response.status_code": tc.status, "wardstream.denied": tc.denied})
		if wire.OwnDenial(&e) != (tc.denied != "") {
			t.Errorf("%s: detection takes it for a denial of Wardstream's: %t", name, wire.OwnDenial(&e))
		}
	}
}

// BenchmarkMiddleware is what a request pays. "full" leaves out what the sending costs the other
// core: the event is made and finds no room.
func BenchmarkMiddleware(b *testing.B) {
	env := testenv.Redis(b)
	stuck, err := redislookup.Connect("redis://" + testenv.Silent(b))
	if err != nil {
		b.Fatal(err)
	}
	defer stuck.Close()
	sending := publisher.New(env.Client, publisher.WithStreams(env.Prefix+":events"), publisher.WithMaxLen(1000))
	full := publisher.New(stuck, publisher.WithBuffer(1), publisher.WithMaxAge(time.Hour))
	full.Publish(publisher.Event{Type: "x"})
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, bench := range []struct {
		name string
		h    http.Handler
	}{{"bare", next}, {"full", httppublish.Middleware(full)(next)}, {"sending", httppublish.Middleware(sending)(next)}} {
		b.Run(bench.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/users/42", nil)
			b.ReportAllocs()
			for b.Loop() {
				bench.h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := sending.Close(ctx); err != nil {
		b.Error(err)
	}
	cancel()
	_ = full.Close(ctx) // loses its event
}
