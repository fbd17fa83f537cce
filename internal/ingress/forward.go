package ingress

import (
	"net/http"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/pkg/checker"
)

// An endpoint is how one family of proxies asks and wants to be answered. Which header names
// the client is an option and the same for all.
type endpoint struct {
	// uriHeader is where this proxy puts the URI of the client's request.
	uriHeader string
	// methodHeader is where it puts the method; empty: it is the request's own.
	methodHeader string
	// inPath: that URI is the request's own, behind the endpoint's name.
	inPath bool
	deny   func(denials, http.ResponseWriter, *http.Request, checker.Decision)
}

const envoyPrefix = "/envoy"

// endpoints returns the endpoints by path. Envoy's takes every path that begins with it: Envoy puts
// its path_prefix before the path of the client's request, which may be "*" (OPTIONS) or empty
// (CONNECT).
func endpoints() map[string]endpoint {
	return map[string]endpoint{
		"/":              {uriHeader: "X-Forwarded-Uri", methodHeader: "X-Forwarded-Method", deny: denials.plain},
		"/nginx":         {uriHeader: "X-Original-Uri", methodHeader: "X-Original-Method", deny: denials.nginx},
		"/ingress-nginx": {uriHeader: "X-Original-Url", methodHeader: "X-Original-Method", deny: denials.nginx},
		"/traefik":       {uriHeader: "X-Forwarded-Uri", methodHeader: "X-Forwarded-Method", deny: denials.plain},
		"/caddy":         {uriHeader: "X-Forwarded-Uri", methodHeader: "X-Forwarded-Method", deny: denials.plain},
		"/haproxy":       {uriHeader: "X-Original-Uri", methodHeader: "X-Original-Method", deny: denials.plain},
		envoyPrefix:      {inPath: true, deny: denials.plain},
	}
}

// headers returns the names of the headers that are read.
func (f *forwardAuth) headers() []string {
	names := []string{f.clients.proxies.HeaderName(), "Accept"}
	for _, ep := range f.endpoints {
		names = append(names, ep.uriHeader, ep.methodHeader)
	}
	for _, id := range f.clients.identities {
		names = append(names, id.header)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// A forwardAuth answers proxies that ask whether to pass a request on: 200 for
// yes. It never redirects and never reads the query or the body.
type forwardAuth struct {
	gate      *gate
	clients   clients
	denials   denials
	endpoints map[string]endpoint
}

func (f *forwardAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ep, ok := f.endpoint(r.URL.Path)
	if !ok {
		http.Error(w, "no such endpoint; there are /, /nginx, /ingress-nginx, /traefik, /caddy, /haproxy and /envoy/", http.StatusNotFound)
		return
	}
	s, err := f.subject(r, ep)
	if d := f.gate.decide(r.Context(), s, ep.method(r), err); d.Blocked {
		ep.deny(f.denials, w, r, d)
	}
}

// endpoint finds the endpoint of a path. Where the request names no path at all, it decides as /
// does.
func (f *forwardAuth) endpoint(path string) (endpoint, bool) {
	switch {
	case strings.HasPrefix(path, envoyPrefix):
		path = envoyPrefix
	case !strings.HasPrefix(path, "/"):
		path = "/"
	}
	ep, ok := f.endpoints[path]
	return ep, ok
}

// subject returns the client. From a peer that isn't trusted nothing is read at all.
func (f *forwardAuth) subject(r *http.Request, ep endpoint) (checker.Subject, error) {
	from := f.clients.peer(r.RemoteAddr)
	s := checker.Subject{IP: from.addr}
	header := f.clients.proxies.HeaderName()
	lines := r.Header[header]
	if !f.gate.lone.settled.Load() {
		f.gate.cameFrom(from, !from.trusted && namesOther(header, lines, from.addr))
	}
	if !from.trusted {
		if len(lines) > 0 {
			f.gate.distrusted(r.Context(), r.RemoteAddr)
		}
		if !from.addr.IsValid() {
			return s, checker.ErrNoClient
		}
		return s, nil
	}
	s.Path = ep.path(r)
	identErr := f.clients.identify(&s, func(header string) []string { return r.Header[header] })
	client, err := f.clients.proxies.Client(lines)
	if err != nil {
		return s, err
	}
	s.IP = client
	return s, identErr
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
		return uriPath(strings.TrimPrefix(r.RequestURI, envoyPrefix))
	}
	values := r.Header[e.uriHeader]
	if len(values) != 1 {
		return ""
	}
	return uriPath(values[0])
}
