package ingress

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
)

// errAmbiguous is the failure of a check whose request has an identity header more
// than once: one of them may be the client's own.
var errAmbiguous = checker.NewError("ambiguous_identity", "the identity header is there more than once")

// An endpoint is how one family of proxies asks and wants to be answered. All of
// them say who the client is in X-Forwarded-For.
type endpoint struct {
	// uriHeader is where this proxy puts the URI of the client's request.
	uriHeader string
	// methodHeader is where it puts the method; empty: it is the request's own.
	methodHeader string
	// inPath: that URI is the request's own, behind the endpoint's name.
	inPath bool
	deny   func(http.ResponseWriter, checker.Decision)
}

const envoyPrefix = "/envoy/"

// endpoints returns the endpoints by path. Envoy's takes every path below it.
func endpoints() map[string]endpoint {
	return map[string]endpoint{
		"/":         {uriHeader: "X-Forwarded-Uri", methodHeader: "X-Forwarded-Method", deny: httpcheck.WriteDenied},
		"/nginx":    {uriHeader: "X-Original-Uri", methodHeader: "X-Original-Method", deny: denyNginx},
		"/traefik":  {uriHeader: "X-Forwarded-Uri", methodHeader: "X-Forwarded-Method", deny: httpcheck.WriteDenied},
		"/caddy":    {uriHeader: "X-Forwarded-Uri", methodHeader: "X-Forwarded-Method", deny: httpcheck.WriteDenied},
		"/haproxy":  {uriHeader: "X-Original-Uri", methodHeader: "X-Original-Method", deny: httpcheck.WriteDenied},
		envoyPrefix: {inPath: true, deny: httpcheck.WriteDenied},
	}
}

// A forwardAuth answers proxies that ask whether to pass a request on: 200 for
// yes. It never redirects and never reads the query or the body.
type forwardAuth struct {
	checker    *checker.Checker
	proxies    checker.TrustedProxies
	identities []identity
	endpoints  map[string]endpoint
	seen       func(checker.Decision, time.Duration)
	requests   *requests
	odd        func(r *http.Request, trusted, clientIsProxy bool)
	now        func() time.Time
}

func (f *forwardAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path
	if strings.HasPrefix(name, envoyPrefix) {
		name = envoyPrefix
	}
	ep, ok := f.endpoints[name]
	if !ok {
		http.Error(w, "no such endpoint; there are /, /nginx, /traefik, /caddy, /haproxy and /envoy/", http.StatusNotFound)
		return
	}
	if d := f.check(r, ep); d.Blocked {
		ep.deny(w, d)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (f *forwardAuth) check(r *http.Request, ep endpoint) checker.Decision {
	start := f.now()
	s, err := f.subject(r, ep)
	d := f.checker.Check(r.Context(), s)
	if err != nil && !d.Blocked && d.Err == nil {
		d = f.checker.Fail(r.Context(), s, err)
	}
	f.seen(d, f.now().Sub(start))
	f.requests.publish(&s, ep.method(r), d)
	return d
}

// subject reads who asks. From a peer that isn't trusted nothing is read at all.
func (f *forwardAuth) subject(r *http.Request, ep endpoint) (checker.Subject, error) {
	var s checker.Subject
	addr, ok := f.proxies.ClientAddr(r.RemoteAddr, r.Header.Values("X-Forwarded-For"))
	if !ok {
		return s, httpcheck.ErrNoClient
	}
	s.IP = addr
	peer, _ := checker.ParseAddr(r.RemoteAddr)
	trusted := f.proxies.Trusts(peer)
	f.odd(r, trusted, trusted && f.proxies.Trusts(addr))
	if !trusted {
		return s, nil
	}
	s.Path = ep.path(r)
	var err error
	for _, id := range f.identities {
		switch values := r.Header[id.header]; len(values) {
		case 0:
		case 1:
			id.set(&s, values[0])
		default:
			err = fmt.Errorf("read %s: %w", id.header, errAmbiguous)
		}
	}
	return s, err
}

// method returns the method of the client's request, or "" where that isn't known.
func (e endpoint) method(r *http.Request) string {
	if e.methodHeader == "" {
		return r.Method
	}
	if values := r.Header[e.methodHeader]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// path returns the path that the client asked for, or "" where that isn't known.
func (e endpoint) path(r *http.Request) string {
	if e.inPath {
		return strings.TrimPrefix(r.URL.Path, strings.TrimSuffix(envoyPrefix, "/"))
	}
	values := r.Header[e.uriHeader]
	if len(values) != 1 {
		return ""
	}
	u, err := url.ParseRequestURI(values[0])
	if err != nil {
		return ""
	}
	return u.Path
}

// maxErrorBody bounds a message that travels in a header: proxies bound theirs.
const maxErrorBody = 512

// denyNginx answers nginx, whose auth_request knows no status but 2xx, 401 and
// 403 and makes a 500 of others: 403, and what the client shall get in headers.
func denyNginx(w http.ResponseWriter, d checker.Decision) {
	h := w.Header()
	httpcheck.SetDeniedHeaders(h, d)
	h.Set("X-Error-Status", strconv.Itoa(d.StatusCode))
	h.Set("X-Error-Body", headerText(d.Message, maxErrorBody))
	w.WriteHeader(http.StatusForbidden)
}

// headerText makes text fit for a header: at most limit bytes, on whole
// characters, with blanks for control characters.
func headerText(text string, limit int) string {
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
