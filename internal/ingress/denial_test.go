package ingress

import (
	"encoding/json"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/pkg/checker"
)

func TestProblemDetails(t *testing.T) {
	t.Parallel()
	i := start(t, onRedis(blocked(t)))
	for _, endpoint := range plainEndpoints() {
		res := i.ask(endpoint, "X-Forwarded-For", attacker, "Accept", "application/json, text/plain, */*")
		var got struct {
			Title, Detail string
			Status        int
		}
		if err := json.Unmarshal([]byte(res.body), &got); err != nil {
			t.Errorf("%s: %q", endpoint, res.body)
		}
		if res.status != 429 || got.Status != 429 || got.Detail != "slow down" || got.Title != "Too Many Requests" || res.header.Get("Retry-After") == "" ||
			res.header.Get("Content-Type") != "application/problem+json" || res.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q %v", endpoint, res.status, res.body, res.header)
		}
	}
	if res := i.ask("/nginx", "X-Forwarded-For", attacker, "Accept", "application/json"); res.header.Get("X-Error-Body") != "slow down" {
		t.Errorf("nginx: %v", res.header)
	}
}

func TestPrefersJSON(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/*": false, "text/html": false, "application/json": true, "Application/Problem+JSON; charset=x": true,
		"text/html, application/json": false, "application/json, text/html": true, "text/html;q=0.8, application/json;q=0.9": true,
		"application/json;q=0.1, text/plain": false, "application/json;q=0": false, "application/json;q=x": false, "application/json;Q=0.5": true,
		"application/json;q=NaN": false, ",;,;q=,": false, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false,
		"application/json," + strings.Repeat("x", maxAccept): false,
	} {
		if got := prefersJSON([]string{accept}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
	if !prefersJSON([]string{"text/plain;q=0.1", "application/json"}) {
		t.Error("lines are one list")
	}
}

// TestReasonHeaders: off unless asked for; then the rule and the type of scope, and never its
// value.
func TestReasonHeaders(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	quiet := start(t, onRedis(env))
	verbose := start(t, func(o *Options) {
		onRedis(env)(o)
		o.ReasonHeaders, o.FailClosedPaths = true, []string{"^/pay"}
	})
	for _, endpoint := range append(plainEndpoints(), "/nginx", "/ingress-nginx") {
		res := quiet.ask(endpoint, "X-Forwarded-For", attacker)
		for name, values := range res.header {
			if text := strings.Join(values, " ") + res.body; strings.Contains(text, "secret") || strings.Contains(text, attacker) || strings.HasPrefix(name, "X-Wardstream") && name != checker.HeaderDenied {
				t.Errorf("%s reveals %s: %s", endpoint, name, text)
			}
		}
		res = verbose.ask(endpoint, "X-Forwarded-For", attacker)
		if h := res.header; h.Get(ruleHeader) != "secret-rule" || h.Get(scopeHeader) != "ip" || h.Get(errorHeader) != "" {
			t.Errorf("%s: %v", endpoint, h)
		}
	}
	res := verbose.ask("/envoy/pay", "X-Forwarded-For", "junk")
	if h := res.header; res.status != 429 || h.Get(errorHeader) != "no_client" || h.Get(ruleHeader) != "" {
		t.Errorf("by the fail mode: %d %v", res.status, h)
	}
}

func TestURIPath(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"/": "/", "/a/b?c=/d": "/a/b", "/a%2Fb": "/a/b", "/a#b": "/a", "https://h/a?b": "/a", "https://h:80/a": "/a", "http://u@h/a": "/a",
		"https://h": "", "https://h?/a": "", "https://h#/a": "", "https://h/x://y/z": "/x://y/z", "/x://y": "/x://y", "": "", "a": "", "*": "", "?": "", "/%zz": "",
		"//a": "//a", "/?x=http://h/y": "/", "?http://h/y": "",
	} {
		if got := uriPath(uri); got != want {
			t.Errorf("uriPath(%q) = %q, want %q", uri, got, want)
		}
	}
}

// FuzzURIPath: neither the host nor the query reaches into the path, and what net/url makes of a
// request URI it makes of it too.
func FuzzURIPath(f *testing.F) {
	f.Add("h", "/pay/%31", "x=/y")
	f.Add("h?", "/a", "")
	f.Fuzz(func(t *testing.T, host, p, query string) {
		if got := uriPath("/pay?" + query); got != "/pay" {
			t.Fatalf("the query %q makes it %q", query, got)
		}
		if !strings.Contains(host, "/") { // no server takes a host with one
			if got := uriPath("https://" + host + "/pay?" + query); got != "/pay" && got != "" {
				t.Fatalf("the host %q makes it %q", host, got)
			}
		}
		if u, err := url.ParseRequestURI(p); err == nil && strings.HasPrefix(p, "/") && !strings.Contains(p, "#") {
			if got := uriPath(p); path.Clean(got) != path.Clean(u.Path) {
				t.Fatalf("uriPath(%q) = %q, net/url %q", p, got, u.Path)
			}
		}
	})
}
