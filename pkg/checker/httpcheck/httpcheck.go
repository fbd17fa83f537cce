// Package httpcheck is net/http middleware for a [checker.Checker]. It works with every router that
// takes a func(http.Handler) http.Handler.
//
// Blocked requests are answered before the handler runs. By default only the client's address is
// checked, determined by [checker.TrustedProxies]; [WithSubject] adds the authenticated user or
// session.
package httpcheck

import (
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// ErrNoClient is the error of a check of a request without a client address, such as one over a
// Unix socket. The fail mode decides about it.
var ErrNoClient = checker.ErrNoClient

// An Option configures [Middleware].
type Option func(*middleware)

type middleware struct {
	checker *checker.Checker
	proxies checker.TrustedProxies
	subject func(*http.Request, *checker.Subject)
	skip    []func(*http.Request) bool
	denied  func(http.ResponseWriter, *http.Request, checker.Decision)
}

// WithTrustedProxies sets the proxies whose header about the client's address is believed. By
// default there are none, and the peer is the client.
func WithTrustedProxies(t checker.TrustedProxies) Option {
	return func(m *middleware) { m.proxies = t }
}

// WithSubject calls fill to complete or replace the Subject, in which IP and Path are already set.
// Set the user or session that the application has authenticated, never one from a header that a
// client can set.
func WithSubject(fill func(*http.Request, *checker.Subject)) Option {
	return func(m *middleware) { m.subject = fill }
}

// WithSkip passes requests on unchecked if skip returns true. It may be given several times.
func WithSkip(skip func(*http.Request) bool) Option {
	return func(m *middleware) { m.skip = append(m.skip, skip) }
}

// WithSkipPaths passes requests for these paths on unchecked. A path that ends in a slash includes
// everything below it. A request path with dot segments or repeated slashes is always checked.
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

// WithDenied replaces [WriteDenied] as the response to blocked requests.
func WithDenied(answer func(http.ResponseWriter, *http.Request, checker.Decision)) Option {
	return func(m *middleware) { m.denied = answer }
}

// Middleware returns middleware that checks every request with c and calls the next handler unless
// the request is blocked. It does not wrap the ResponseWriter.
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
		w.Header().Set(checker.HeaderDenied, "true") // also for a custom response
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

// WriteDenied writes the response to a blocked request: d's status, its message as plain text,
// Cache-Control: no-store, and Retry-After unless the block is permanent. It does not reveal the
// reason, the rule or the scope.
func WriteDenied(w http.ResponseWriter, d checker.Decision) {
	h := w.Header()
	SetDeniedHeaders(h, d)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(d.StatusCode)
	_, _ = w.Write([]byte(d.Message)) // fails only if the client is gone
}

// SetDeniedHeaders sets the headers that every denial should have: Cache-Control,
// [checker.HeaderDenied] and, unless the block is permanent, Retry-After. Use it in functions given
// to [WithDenied].
func SetDeniedHeaders(h http.Header, d checker.Decision) {
	h.Set(checker.HeaderDenied, "true")
	h.Set("Cache-Control", "no-store")
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(d.RetryAfter/time.Second), 10))
	}
}
