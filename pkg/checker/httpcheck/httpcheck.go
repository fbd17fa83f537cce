// Package httpcheck puts a [checker.Checker] in front of net/http handlers, of any router that
// takes a func(http.Handler) http.Handler.
//
// Blocked requests are answered before the handler runs. By default only the
// client's address is checked, found as [checker.TrustedProxies] says; [WithSubject] adds who
// the application knows the client to be.
package httpcheck

import (
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// ErrNoClient is the failure of a check whose request shows no client address,
// such as one over a Unix socket. The fail mode decides.
var ErrNoClient = checker.ErrNoClient

// An Option changes what [Middleware] does.
type Option func(*middleware)

type middleware struct {
	checker *checker.Checker
	proxies checker.TrustedProxies
	subject func(*http.Request, *checker.Subject)
	skip    []func(*http.Request) bool
	denied  func(http.ResponseWriter, *http.Request, checker.Decision)
}

// WithTrustedProxies says which peers' word about the client is believed, and in which header. By default nobody's is,
// and the peer is the client.
func WithTrustedProxies(t checker.TrustedProxies) Option {
	return func(m *middleware) { m.proxies = t }
}

// WithSubject has fill complete the Subject, which comes with IP and Path set: with a user or
// session that the application has authenticated, or by replacing what is there. It must not
// take identities from headers that a client can set.
func WithSubject(fill func(*http.Request, *checker.Subject)) Option {
	return func(m *middleware) { m.subject = fill }
}

// WithSkip lets requests pass unchecked if skip says so. It may be given several times.
func WithSkip(skip func(*http.Request) bool) Option {
	return func(m *middleware) { m.skip = append(m.skip, skip) }
}

// WithSkipPaths lets requests for these paths pass unchecked. A path that ends in a slash stands
// for all below it. A request path with dot segments or repeated slashes is never skipped.
func WithSkipPaths(paths ...string) Option {
	return WithSkip(func(r *http.Request) bool {
		for _, p := range paths {
			below := strings.HasSuffix(p, "/") && strings.HasPrefix(r.URL.Path, p)
			if (r.URL.Path == p || below) && isClean(r.URL.Path) {
				return true
			}
		}
		return false
	})
}

func isClean(p string) bool {
	return p == path.Clean(p) || p == path.Clean(p)+"/"
}

// WithDenied replaces [WriteDenied] as the answer to blocked requests.
func WithDenied(answer func(http.ResponseWriter, *http.Request, checker.Decision)) Option {
	return func(m *middleware) { m.denied = answer }
}

// Middleware returns a middleware that checks every request with c and passes
// those on that aren't blocked. The ResponseWriter is not wrapped.
func Middleware(c *checker.Checker, opts ...Option) func(http.Handler) http.Handler {
	m := &middleware{
		checker: c,
		denied:  func(w http.ResponseWriter, _ *http.Request, d checker.Decision) { WriteDenied(w, d) },
	}
	for _, opt := range opts {
		opt(m)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}
}

func (m *middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	for _, skip := range m.skip {
		if skip(r) {
			next.ServeHTTP(w, r)
			return
		}
	}
	if d := m.check(r); d.Blocked {
		w.Header().Set(checker.HeaderDenied, "true") // whatever answers
		m.denied(w, r, d)
		return
	}
	next.ServeHTTP(w, r)
}

func (m *middleware) check(r *http.Request) checker.Decision {
	s := checker.Subject{Path: r.URL.Path}
	addr, ok := m.proxies.ClientAddr(r.RemoteAddr, r.Header[m.proxies.HeaderName()])
	s.IP = addr
	if m.subject != nil {
		m.subject(r, &s)
	}
	d := m.checker.Check(r.Context(), s)
	if !ok && !s.IP.IsValid() && !d.Blocked && d.Err == nil {
		return m.checker.Fail(r.Context(), s, ErrNoClient)
	}
	return d
}

// WriteDenied answers a blocked request: the status of d, its message as plain
// text, Retry-After in seconds unless the block is permanent, and nothing to be
// stored. The reason, the rule and the scope stay here.
func WriteDenied(w http.ResponseWriter, d checker.Decision) {
	h := w.Header()
	SetDeniedHeaders(h, d)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(d.StatusCode)
	_, _ = w.Write([]byte(d.Message)) // a client that is gone needs no answer
}

// SetDeniedHeaders sets Cache-Control, [checker.HeaderDenied] and, where d has it,
// Retry-After: what every denial should carry, for answers other than [WriteDenied]'s.
func SetDeniedHeaders(h http.Header, d checker.Decision) {
	h.Set(checker.HeaderDenied, "true")
	h.Set("Cache-Control", "no-store")
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(d.RetryAfter/time.Second), 10))
	}
}
