package httpcheck_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
)

// blocks is a Lookup over a fixed list.
type blocks []checker.Block

func (b blocks) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	var found []checker.Block
	for _, block := range b {
		for _, s := range scopes {
			if block.Scope == s {
				found = append(found, block)
			}
		}
	}
	return found, nil
}

func (blocks) HonoursDeadline() bool { return true }

// down is a Lookup whose store is down.
type down struct{}

var errDown = errors.New("down")

func (down) Lookup(context.Context, []checker.Scope) ([]checker.Block, error) { return nil, errDown }
func (down) HonoursDeadline() bool                                            { return true }

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func blocked(typ, value string, ttl time.Duration) checker.Block {
	b := checker.Block{
		Scope: checker.Scope{Type: typ, Value: value}, Rule: "secret-rule", Reason: "secret-reason",
		StatusCode: 403, Message: "not you", CreatedAt: now,
	}
	if ttl > 0 {
		b.ExpiresAt = now.Add(ttl)
	}
	return b
}

// ask sends a request through the middleware and reports whether the handler ran.
func ask(lookup checker.Lookup, r *http.Request, checks []checker.Option, opts ...httpcheck.Option) (*httptest.ResponseRecorder, string, bool) {
	ran := false
	checks = append([]checker.Option{checker.WithClock(func() time.Time { return now })}, checks...)
	h := httpcheck.Middleware(checker.New(lookup, checks...), opts...)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ran = true
		w.WriteHeader(http.StatusNoContent)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w, w.Body.String(), ran
}

func request(path, peer string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://app"+path, nil)
	r.RemoteAddr = peer
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestAllowedRequestsReachTheHandler(t *testing.T) {
	t.Parallel()
	res, _, ran := ask(blocks{blocked("ip", "203.0.113.9", 0)}, request("/", "203.0.113.10:1"), nil)
	if !ran || res.Code != http.StatusNoContent || res.Header().Get("Cache-Control") != "" || res.Header().Get(checker.HeaderDenied) != "" {
		t.Fatalf("handler ran %v, status %d, header %v", ran, res.Code, res.Header())
	}
}

func TestDenial(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ttl   time.Duration
		retry string
	}{"temporary": {90500 * time.Millisecond, "91"}, "permanent": {0, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, body, ran := ask(blocks{blocked("ip", "203.0.113.9", tc.ttl)}, request("/", "203.0.113.9:1"), nil)
			if ran || res.Code != 403 || body != "not you" {
				t.Fatalf("handler ran %v, status %d, body %q", ran, res.Code, body)
			}
			for header, want := range map[string]string{
				"Retry-After": tc.retry, "Cache-Control": "no-store", "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", checker.HeaderDenied: "true",
			} {
				if got := res.Header().Get(header); got != want {
					t.Errorf("%s = %q, want %q", header, got, want)
				}
			}
			for _, values := range res.Header() {
				if all := strings.Join(values, " ") + body; strings.Contains(all, "secret") || strings.Contains(all, "203.0.113.9") {
					t.Errorf("the answer has %q", all)
				}
			}
		})
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies, err := checker.ParseTrustedProxies([]string{"10.0.0.0/8"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	other := proxies
	other.Header = checker.HeaderForwarded
	for name, tc := range map[string]struct {
		request *http.Request
		opts    []httpcheck.Option
		denied  bool
	}{
		"the configured header":        {request("/", "10.0.0.1:1", "Forwarded", "for=203.0.113.9", "X-Forwarded-For", "6.6.6.6"), []httpcheck.Option{httpcheck.WithTrustedProxies(other)}, true},
		"peer":                         {request("/", "203.0.113.9:1"), nil, true},
		"header without trust":         {request("/", "10.0.0.1:1", "X-Forwarded-For", "203.0.113.9"), nil, false},
		"header, peer trusted":         {request("/", "10.0.0.1:1", "X-Forwarded-For", "6.6.6.6, 203.0.113.9"), []httpcheck.Option{httpcheck.WithTrustedProxies(proxies)}, true},
		"header lines":                 {request("/", "10.0.0.1:1", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "203.0.113.9"), []httpcheck.Option{httpcheck.WithTrustedProxies(proxies)}, true},
		"claim to be another":          {request("/", "203.0.113.9:1", "X-Forwarded-For", "6.6.6.6"), []httpcheck.Option{httpcheck.WithTrustedProxies(proxies)}, true},
		"other headers":                {request("/", "10.0.0.1:1", "X-Real-Ip", "203.0.113.9", "Forwarded", "for=203.0.113.9", "X_Forwarded_For", "203.0.113.9", "True-Client-Ip", "203.0.113.9"), []httpcheck.Option{httpcheck.WithTrustedProxies(proxies)}, false},
		"other headers don't displace": {request("/", "10.0.0.1:1", "X-Forwarded-For", "203.0.113.9", "X-Real-Ip", "6.6.6.6", "Forwarded", "for=6.6.6.6"), []httpcheck.Option{httpcheck.WithTrustedProxies(proxies)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, ran := ask(blocks{blocked("ip", "203.0.113.9", 0)}, tc.request, nil, tc.opts...); ran == tc.denied {
				t.Fatalf("handler ran %v, want denied %v", ran, tc.denied)
			}
		})
	}
}

func TestSubjectOfTheApplication(t *testing.T) {
	t.Parallel()
	fill := httpcheck.WithSubject(func(r *http.Request, s *checker.Subject) {
		if s.Path != "/x" || s.IP.String() != "203.0.113.10" {
			t.Errorf("subject comes as %+v", s)
		}
		s.User = "42"
	})
	if _, _, ran := ask(blocks{blocked("user", "42", 0)}, request("/x", "203.0.113.10:1"), nil, fill); ran {
		t.Error("the user's block doesn't deny")
	}
	if _, _, ran := ask(blocks{blocked("user", "42", 0)}, request("/x", "203.0.113.10:1", "X-User", "42"), nil); !ran {
		t.Error("a header made an identity")
	}
}

func TestSkip(t *testing.T) {
	t.Parallel()
	skip := httpcheck.WithSkipPaths("/healthz", "/static/")
	for path, skipped := range map[string]bool{
		"/healthz": true, "/static/": true, "/static/a/b.js": true, "/static/a/": true,
		"/healthz/": false, "/healthz/x": false, "/static": false, "/staticx": false, "/x?path=/healthz": false, "/x/healthz": false,
		"/static/../admin": false, "/static/%2e%2e/admin": false, "/static//x": false, "/static/./x": false, "//healthz": false,
	} {
		if _, _, ran := ask(blocks{blocked("ip", "203.0.113.9", 0)}, request(path, "203.0.113.9:1"), nil, skip); ran != skipped {
			t.Errorf("%s: handler ran %v, want %v", path, ran, skipped)
		}
	}
	options := httpcheck.WithSkip(func(r *http.Request) bool { return r.Method == http.MethodOptions })
	r := request("/", "203.0.113.9:1")
	r.Method = http.MethodOptions
	if _, _, ran := ask(blocks{blocked("ip", "203.0.113.9", 0)}, r, nil, skip, options); !ran {
		t.Error("the second skip rule isn't asked")
	}
}

func TestDeniedAnswerCanBeReplaced(t *testing.T) {
	t.Parallel()
	answer := httpcheck.WithDenied(func(w http.ResponseWriter, _ *http.Request, d checker.Decision) {
		httpcheck.SetDeniedHeaders(w.Header(), d)
		http.Error(w, d.Block.Scope.Type, http.StatusTeapot)
	})
	res, body, ran := ask(blocks{blocked("ip", "203.0.113.9", time.Minute)}, request("/", "203.0.113.9:1"), nil, answer)
	if ran || res.Code != http.StatusTeapot || body != "ip\n" || res.Header().Get("Retry-After") != "60" || res.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("handler ran %v, status %d, body %q, header %v", ran, res.Code, body, res.Header())
	}
}

func TestFailMode(t *testing.T) {
	t.Parallel()
	closed := checker.WithFailClosed(regexp.MustCompile("^/pay"))
	for _, peer := range []string{"203.0.113.9:1", "@"} { // "@": a Unix socket shows no client
		var failures []error
		heard := checker.WithOnError(func(_ context.Context, _ checker.Subject, d checker.Decision) { failures = append(failures, d.Err) })
		if _, _, ran := ask(down{}, request("/x", peer), []checker.Option{closed, heard}); !ran {
			t.Errorf("peer %q, open path: denied", peer)
		}
		res, _, ran := ask(down{}, request("/x/../pay", peer), []checker.Option{closed, heard})
		if ran || res.Code != checker.DefaultStatusCode || res.Header().Get("Retry-After") != "" {
			t.Errorf("peer %q, closed path: handler ran %v, status %d", peer, ran, res.Code)
		}
		want := errDown
		if peer == "@" {
			want = httpcheck.ErrNoClient
		}
		if len(failures) != 2 || !errors.Is(failures[0], want) || !errors.Is(failures[1], want) {
			t.Errorf("peer %q: heard %v, want %v twice", peer, failures, want)
		}
	}
}

func TestIdentityWithoutClientAddress(t *testing.T) {
	t.Parallel()
	fill := httpcheck.WithSubject(func(_ *http.Request, s *checker.Subject) { s.User = "42" })
	closed := []checker.Option{checker.WithFailClosed(regexp.MustCompile("^/pay"))}
	if res, _, _ := ask(blocks{blocked("user", "42", 0)}, request("/x", "@"), closed, fill); res.Code != 403 {
		t.Errorf("a blocked user gets %d", res.Code)
	}
	if _, _, ran := ask(blocks{}, request("/pay", "@"), closed, fill); ran {
		t.Error("a closed path lets a client without an address in")
	}
	if _, _, ran := ask(blocks{}, request("/x", "@"), closed, fill); !ran {
		t.Error("an open path doesn't")
	}
}

func BenchmarkMiddleware(b *testing.B) {
	h := httpcheck.Middleware(checker.New(blocks{}))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, w := request("/x", "203.0.113.9:1"), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
