// Package httppublish is net/http middleware that publishes an audit event for each response, and
// with [WithRequests] for each request before it is handled.
//
// Events of denials by the checker's middleware have the attribute [AttributeDenied]. Detection
// skips them, so that a blocked client does not prolong its own block. Wrap this middleware in the
// checker's to publish no events of denied requests.
package httppublish

import (
	"net/http"
	"strings"

	"github.com/felixge/httpsnoop"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/publisher"
)

// Event types.
const (
	TypeRequest     = "audit.http.request.pre"
	TypeSuccess     = "http.response.success"
	TypeRedirect    = "http.response.redirect"
	TypeClientError = "http.response.client_error"
	TypeServerError = "http.response.server_error"
)

// AttributeDenied is true in the event of a denial by Wardstream, recognized by its header
// [checker.HeaderDenied].
const AttributeDenied = "wardstream.denied"

// maxText is the length, in bytes, to which strings are cut. Detection reads no more.
const maxText = 4096

// An Option configures [Middleware].
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

// WithTrustedProxies sets the proxies whose header about the client's address is believed. Use the
// checker's. By default there are none, and the peer is the client. If the client is unknown or is
// one of the proxies, the event has no address.
func WithTrustedProxies(t checker.TrustedProxies) Option {
	return func(m *middleware) { m.proxies = t }
}

// WithSubject calls fill to complete the Subject, like httpcheck.WithSubject; one function can
// serve both. IP, User, Username and Session become attributes. It is called once per event; for a
// response, after the handler has run.
func WithSubject(fill func(*http.Request, *checker.Subject)) Option {
	return func(m *middleware) { m.subject = fill }
}

// WithRoute replaces [Pattern] as the source of a request's route; "" means none.
func WithRoute(route func(*http.Request) string) Option {
	return func(m *middleware) { m.route = route }
}

// WithTraceParent replaces the header traceparent as the source of the W3C trace context, for
// applications that start a span of their own.
func WithTraceParent(trace func(*http.Request) string) Option {
	return func(m *middleware) { m.trace = trace }
}

// WithEvent calls amend with every event before it is published. It may add, replace and delete
// attributes.
func WithEvent(amend func(*http.Request, *publisher.Event)) Option {
	return func(m *middleware) { m.amend = amend }
}

// WithSkip publishes no events of requests for which skip returns true. It may be given several
// times.
func WithSkip(skip func(*http.Request) bool) Option {
	return func(m *middleware) { m.skip = append(m.skip, skip) }
}

// WithRequests also publishes an event of type [TypeRequest] before a request is handled. It has no
// route, which is not known yet.
func WithRequests() Option {
	return func(m *middleware) { m.requests = true }
}

// Middleware returns middleware that publishes to p. The wrapped ResponseWriter has the optional
// interfaces of the original, such as http.Flusher, and works with http.ResponseController.
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

// Pattern returns the path of the pattern that http.ServeMux matched: "/users/{id}" of "GET
// /users/{id}". The mux sets it in the request it is given, so middleware in between must not
// replace the request.
func Pattern(r *http.Request) string {
	slash := strings.IndexByte(r.Pattern, '/') // after method and host
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

// event returns an event with the attributes common to requests and responses.
func (m *middleware) event(typ string, r *http.Request, path string) publisher.Event {
	s := checker.Subject{Path: path}
	if addr, ok := m.proxies.ClientAddr(r.RemoteAddr, r.Header.Values(m.proxies.HeaderName())); ok && !m.proxies.Trusts(addr) {
		s.IP = addr // stays unset for a proxy's own requests, which must not count against the proxy
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

// maxTraceParent exceeds the length of any traceparent.
const maxTraceParent = 128

// response returns the event of a request that was handled or whose handler panicked.
func (m *middleware) response(r *http.Request, path string, seen *httpsnoop.Metrics, panicked bool) publisher.Event {
	status := seen.Code
	if status == 0 { // the handler set none
		status = http.StatusOK
		switch {
		case panicked && seen.Written == 0:
			status = http.StatusInternalServerError
		case seen.Written == 0 && r.Header.Get("Upgrade") != "":
			status = http.StatusSwitchingProtocols // the handler took the connection over
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

// shorten cuts text to maxText bytes and copies it if it was longer, to free the rest.
func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.Clone(text[:maxText])
}
