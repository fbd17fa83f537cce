// Package httppublish publishes an event for each response of a net/http handler, and if asked one for each
// request before it is handled, so that detection knows what an application does without being called by it.
//
// The answers that the checker's middleware gives to blocked clients are marked by the attribute
// [AttributeDenied], and detection skips them: they don't count against a client for as long as it asks. Put
// that middleware outside of this one to publish nothing of them.
package httppublish

import (
	"net/http"
	"strings"

	"github.com/felixge/httpsnoop"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/publisher"
)

// The types of the events.
const (
	TypeRequest     = "audit.http.request.pre"
	TypeSuccess     = "http.response.success"
	TypeRedirect    = "http.response.redirect"
	TypeClientError = "http.response.client_error"
	TypeServerError = "http.response.server_error"
)

// AttributeDenied is true in the event of a response that Wardstream itself gave a blocked client, known
// by its header [checker.HeaderDenied].
const AttributeDenied = "wardstream.denied"

// maxText is how much of a string detection looks at, in bytes. What is longer isn't kept in the buffer.
const maxText = 4096

// An Option changes what [Middleware] publishes.
type Option func(*middleware)

type middleware struct {
	publisher *publisher.Publisher
	proxies   checker.TrustedProxies
	subject   func(*http.Request, *checker.Subject)
	route     func(*http.Request) string
	trace     func(*http.Request) string
	amend     func(*http.Request, *publisher.Event)
	skip      []func(*http.Request) bool
	requests  bool
}

// WithTrustedProxies says which peers' X-Forwarded-For, or other header, is believed, as for the checker. By default nobody's
// is, and the peer is the client. An event whose client is not known, or is one of the proxies, has no address.
func WithTrustedProxies(t checker.TrustedProxies) Option {
	return func(m *middleware) { m.proxies = t }
}

// WithSubject has fill say who the client is, as httpcheck.WithSubject does; one function can serve both.
// IP, User, Username and Session become attributes. It is called once for each event: for that of the
// response after the handler has run.
func WithSubject(fill func(*http.Request, *checker.Subject)) Option {
	return func(m *middleware) { m.subject = fill }
}

// WithRoute replaces [Pattern] as what names the route of a request that was handled; "" where it has none.
func WithRoute(route func(*http.Request) string) Option {
	return func(m *middleware) { m.route = route }
}

// WithTraceParent replaces the header traceparent as the W3C trace context of the event, for
// applications that begin a span of their own.
func WithTraceParent(trace func(*http.Request) string) Option {
	return func(m *middleware) { m.trace = trace }
}

// WithEvent has amend complete every event before it is published. It may add attributes and replace or delete
// them.
func WithEvent(amend func(*http.Request, *publisher.Event)) Option {
	return func(m *middleware) { m.amend = amend }
}

// WithSkip publishes nothing of requests for which skip says so. It may be given several times.
func WithSkip(skip func(*http.Request) bool) Option {
	return func(m *middleware) { m.skip = append(m.skip, skip) }
}

// WithRequests publishes [TypeRequest], too, before a request is handled. It has no route: that isn't known yet.
func WithRequests() Option {
	return func(m *middleware) { m.requests = true }
}

// Middleware returns a middleware that publishes to p. The ResponseWriter that handlers get has the optional
// interfaces of the one it wraps, such as http.Flusher, and works with http.ResponseController.
func Middleware(p *publisher.Publisher, opts ...Option) func(http.Handler) http.Handler {
	m := &middleware{
		publisher: p, route: Pattern,
		trace: func(r *http.Request) string { return r.Header.Get("Traceparent") },
	}
	for _, opt := range opts {
		opt(m)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}
}

// Pattern is the path of the pattern that http.ServeMux found for r: "/users/{id}" of "GET /users/{id}". The mux
// notes it in the request it was given, so a middleware in between must not have replaced that.
func Pattern(r *http.Request) string {
	slash := strings.IndexByte(r.Pattern, '/') // method and host stand before it
	if slash < 0 {
		return ""
	}
	return strings.TrimSuffix(r.Pattern[slash:], "{$}")
}

func (m *middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	for _, skip := range m.skip {
		if skip(r) {
			next.ServeHTTP(w, r)
			return
		}
	}
	path := r.URL.Path // handlers such as http.StripPrefix may change their copy, and some the original
	if m.requests {
		m.publish(r, m.event(TypeRequest, r, path))
	}
	var seen httpsnoop.Metrics
	panicked := true
	defer func() {
		e := m.response(r, path, &seen, panicked)
		if w.Header().Get(checker.HeaderDenied) != "" {
			e.Attributes[AttributeDenied] = true
		}
		m.publish(r, e)
	}()
	seen.CaptureMetrics(w, func(w http.ResponseWriter) { next.ServeHTTP(w, r) })
	panicked = false
}

func (m *middleware) publish(r *http.Request, e publisher.Event) {
	if m.amend != nil {
		m.amend(r, &e)
	}
	m.publisher.Publish(e)
}

// event is what the events of a request have in common.
func (m *middleware) event(typ string, r *http.Request, path string) publisher.Event {
	s := checker.Subject{Path: path}
	if addr, ok := m.proxies.ClientAddr(r.RemoteAddr, r.Header.Values(m.proxies.HeaderName())); ok && !m.proxies.Trusts(addr) {
		s.IP = addr // what a proxy does itself, or can't name a client for, is not counted against it
	}
	if m.subject != nil {
		m.subject(r, &s)
	}
	e := publisher.Event{Type: typ, Attributes: make(map[string]any, 10)}
	set := func(name, value string) {
		if value != "" {
			e.Attributes[name] = shorten(value)
		}
	}
	set("http.request.method", r.Method)
	set("url.path", path)
	set("user.id", s.User)
	set("user.name", s.Username)
	set("session.id", s.Session)
	if s.IP.IsValid() {
		e.Attributes["source.address"] = s.IP.Unmap().WithZone("").String()
	}
	if trace := m.trace(r); len(trace) <= maxTraceParent {
		e.TraceParent = trace
	}
	return e
}

// maxTraceParent is longer than any traceparent.
const maxTraceParent = 128

// response is the event of a request that was handled, or whose handler panicked.
func (m *middleware) response(r *http.Request, path string, seen *httpsnoop.Metrics, panicked bool) publisher.Event {
	status := seen.Code
	if status == 0 { // nobody set it
		status = http.StatusOK
		switch {
		case panicked && seen.Written == 0:
			status = http.StatusInternalServerError
		case seen.Written == 0 && r.Header.Get("Upgrade") != "":
			status = http.StatusSwitchingProtocols // by a handler that took the connection over
		}
	}
	e := m.event(responseType(status), r, path)
	e.Attributes["http.response.status_code"] = status
	e.Attributes["duration_ns"] = seen.Duration.Nanoseconds()
	if route := m.route(r); route != "" {
		e.Attributes["http.route"] = shorten(route)
	}
	return e
}

func responseType(status int) string {
	switch {
	case status >= http.StatusInternalServerError:
		return TypeServerError
	case status >= http.StatusBadRequest:
		return TypeClientError
	case status >= http.StatusMultipleChoices:
		return TypeRedirect
	}
	return TypeSuccess
}

// shorten keeps of a text what detection looks at, in memory of its own where there was more.
func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.Clone(text[:maxText])
}
