//go:build proxies

package proxytest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/ingress/hostile"
	"github.com/wardstream/wardstream/internal/testenv"
)

// decides checks which clients pass, whatever they claim.
func decides(t *testing.T, w *world, addr string) {
	t.Helper()
	if res := ask(t, visitor, addr, "/shop/cart?x=1"); res.status != 200 || res.body != "app: /shop/cart" {
		t.Errorf("visitor: %d %q", res.status, res.body)
	}
	before := w.served.Load()
	res := ask(t, attacker, addr, "/shop/cart?x=1")
	seconds, _ := strconv.Atoi(res.header.Get("Retry-After"))
	if res.status != 429 || res.body != "slow down" || seconds < 3000 || seconds > 3600 || res.header.Get("Cache-Control") != "no-store" {
		t.Errorf("attacker: %d %q %v", res.status, res.body, res.header)
	}
	if res := ask(t, exile, addr, "/"); res.status != 403 || res.body != "go away" || res.header.Get("Retry-After") != "" {
		t.Errorf("exile: %d %q %v", res.status, res.body, res.header)
	}
	for _, claim := range claims {
		if res := ask(t, attacker, addr, "/shop?ip="+visitor, claim...); res.status != 429 || res.body != "slow down" {
			t.Errorf("attacker with %.60q: %d %q", claim, res.status, res.body)
		}
		if res := ask(t, exile, addr, "/healthz?"+visitor, claim...); res.status != 403 {
			t.Errorf("exile with %.60q: %d %q", claim, res.status, res.body)
		}
	}
	if after := w.served.Load(); after != before {
		t.Errorf("the application saw %d requests of the blocked", after-before)
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "X_Forwarded_For"} {
		for _, value := range []string{attacker, "for=" + attacker} {
			if res := ask(t, visitor, addr, "/", name, value); res.status != 200 {
				t.Errorf("visitor accused by %s: %s: %d", name, value, res.status)
			}
		}
	}
}

// claims are headers with which clients claim to be another, to ask for something else, or to have
// no address.
var claims = [][]string{
	{"X-Forwarded-For", visitor},
	{"X-Forwarded-For", visitor + ", 127.0.0.1"},
	{"X-Forwarded-For", "junk"},
	{"X-Forwarded-For", strings.Repeat(visitor+", ", 300) + visitor},
	{"x-forwarded-for", visitor, "X-FORWARDED-FOR", visitor},
	{"Forwarded", "for=" + visitor},
	{"Forwarded", `for="`},
	{"X-Real-IP", visitor},
	{"X-Original-URL", "/healthz"},
	{"X-Original-URI", "/healthz", "X-Forwarded-Uri", "/healthz"},
	{"X_Forwarded_For", visitor},
	{"X-Client-IP", visitor, "True-Client-IP", visitor, "CF-Connecting-IP", visitor},
	{"Connection", "close, X-Forwarded-For, X-Real-IP, X-Original-URI"},
	{"User-Agent", "kube-probe/1.30"},
	{"X-Error-Status", "200"},
}

// failsByPath shows the fail mode: without Redis all may pass but to /pay, however they ask for
// that.
func failsByPath(t *testing.T, w *world, addr string) {
	t.Helper()
	w.redis.Kill()
	testenv.Eventually(t, 30*time.Second, func() error {
		if res := ask(t, attacker, addr, "/shop"); res.status != 200 {
			return fmt.Errorf("without Redis, open path: %d %q", res.status, res.body)
		}
		return nil
	})
	for _, path := range []string{"/pay", "/pay/1?a=/shop", "/%70ay", "/pay/../pay/2"} {
		for _, claim := range append(claims, nil) {
			if res := ask(t, visitor, addr, path, claim...); res.status != 429 || res.body != "not now" || res.header.Get("Retry-After") != "" {
				t.Errorf("without Redis, %s with %.60q: %d %q", path, claim, res.status, res.body)
			}
		}
	}
	w.redis.Restart()
}

// unreachable checks what a proxy does when its check is not answered.
func unreachable(t *testing.T, w *world, addr string, want int) {
	t.Helper()
	w.kill()
	for range 3 {
		if res := ask(t, attacker, addr, "/shop"); res.status != want {
			t.Errorf("without ingress-check: %d %q, want %d", res.status, res.body, want)
		}
	}
}

func TestNginx(t *testing.T) {
	t.Parallel()
	all, flags := only(t, "docs/how-to/ingress/nginx.md", "nginx", 2), command(t, "docs/how-to/ingress/nginx.md", "console")
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, flags)
		addr := nginx(t, w, all[0])
		decides(t, w, addr)
		hostileRequests(t, w, addr, nginx(t, w, bareNginx))
		failsByPath(t, w, addr)
		unreachable(t, w, addr, 500)
	})
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, flags)
		location := all[0][strings.Index(all[0], "  location / {"):strings.Index(all[0], "  location = ")]
		addr := nginx(t, w, strings.Replace(all[0], location, all[1], 1))
		decides(t, w, addr)
		hostileRequests(t, w, addr, nginx(t, w, bareNginx))
		unreachable(t, w, addr, 200)
	})
}

// TestNginxREADMEExample: the four lines deny, with nginx's own 403.
func TestNginxREADMEExample(t *testing.T) {
	t.Parallel()
	w := newWorld(t, command(t, "README.md", "sh"))
	four := only(t, "README.md", "nginx", 1)[0]
	addr := nginx(t, w, "upstream ingress_check { server 127.0.0.1:8080; }\nserver {\n"+replaced(t, four, "http://127.0.0.1:8080/", "http://ingress_check/")+"}\n")
	hostileRequests(t, w, addr, nginx(t, w, bareNginx))
	if res := ask(t, visitor, addr, "/x"); res.status != 200 || res.body != "app: /x" {
		t.Errorf("visitor: %d %q", res.status, res.body)
	}
	for _, claim := range append(claims, nil) {
		for _, who := range []string{attacker, exile} {
			if res := ask(t, who, addr, "/x", claim...); res.status != 403 {
				t.Errorf("%s with %.60q: %d %q", who, claim, res.status, res.body)
			}
		}
	}
}

// TestNginxForwardingContentLength: a page's line that is forgotten costs nothing, since
// ingress-check waits for no body.
func TestNginxForwardingContentLength(t *testing.T) {
	t.Parallel()
	page := only(t, "docs/how-to/ingress/nginx.md", "nginx", 2)[0]
	page = regexp.MustCompile(`(?m)^ *proxy_(pass_request_headers|set_header +Content-Length) .*\n`).ReplaceAllString(page, "")
	if strings.Contains(page, "Content-Length") || strings.Contains(page, "request_headers") {
		t.Fatal(page)
	}
	w := newWorld(t, command(t, "docs/how-to/ingress/nginx.md", "console"))
	addr := nginx(t, w, page)
	for _, r := range hostile.All() {
		if status := converse(t, attacker, addr, r.Raw(same, "")); (strings.HasPrefix(r.Name, "a body") || strings.HasPrefix(r.Name, "100-continue")) && status != 429 {
			t.Errorf("%s: %d", r.Name, status)
		}
	}
	if n := w.served.Load(); n != 0 {
		t.Errorf("the application saw %d requests of the blocked", n)
	}
}

// bareNginx is nginx without ingress-check.
const bareNginx = "upstream ingress_check { server 127.0.0.1:8080; }\nserver {\n  location / { proxy_pass http://app; }\n}\n"

// nginx runs a server block of the page.
func nginx(t *testing.T, w *world, config string) string {
	t.Helper()
	addr, dir := freeAddr(t), t.TempDir()
	config = replaced(t, config, "127.0.0.1:8080", w.ingress, "server {\n", "server {\n  listen "+addr+";\n")
	config = w.limits(config)
	file := write(t, "nginx.conf", `
daemon off;
master_process off;
pid `+dir+`/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_timeout 1s;
  client_body_temp_path `+dir+`/a; proxy_temp_path `+dir+`/b; fastcgi_temp_path `+dir+`/c; uwsgi_temp_path `+dir+`/d; scgi_temp_path `+dir+`/e;
  upstream app { server `+w.app+`; }
`+config+"\n}\n")
	w.run(addr, program(t, "nginx"), "-c", file, "-e", "stderr", "-p", dir)
	return addr
}

// haproxy runs a configuration of the page with its action.
func haproxy(t *testing.T, w *world, config string) string {
	t.Helper()
	addr, inner := freeAddr(t), freeAddr(t)
	lua := write(t, "wardstream.lua", w.limits(replaced(t, only(t, "docs/how-to/ingress/haproxy.md", "lua", 1)[0], "127.0.0.1:8079", inner)))
	file := write(t, "haproxy.cfg", w.limits(replaced(t, config, "/etc/haproxy/wardstream.lua", lua, ":80\n", addr+"\n", "127.0.0.1:3000", w.app,
		"127.0.0.1:8079", inner, "127.0.0.1:8080", w.ingress)))
	w.run(addr, program(t, "haproxy"), "-db", "-f", file)
	return addr
}

func TestHAProxy(t *testing.T) {
	t.Parallel()
	flags := command(t, "docs/how-to/ingress/haproxy.md", "console")
	config := only(t, "docs/how-to/ingress/haproxy.md", "haproxy", 2)
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, flags)
		addr := haproxy(t, w, config[0])
		decides(t, w, addr)
		hostileRequests(t, w, addr, haproxy(t, w, replaced(t, config[0], "  http-request lua.wardstream\n", "")))
		failsByPath(t, w, addr)
		unreachable(t, w, addr, 200)
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, flags)
		addr := haproxy(t, w, replaced(t, config[0], "  http-request lua.wardstream\n", "  http-request lua.wardstream\n"+config[1]))
		decides(t, w, addr)
		unreachable(t, w, addr, 503)
	})
}

// caddy runs a site of the page.
func caddy(t *testing.T, w *world, config string) string {
	t.Helper()
	program := os.Getenv("CADDY")
	if program == "" {
		t.Fatal("CADDY names no Caddy: run make test-proxies, which builds one")
	}
	addr := freeAddr(t)
	file := write(t, "Caddyfile", "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n"+
		w.limits(replaced(t, config, "app.example.com", "http://"+addr, "ingress-check:8080", w.ingress, "app:3000", w.app)))
	w.run(addr, program, "run", "--adapter", "caddyfile", "--config", file)
	return addr
}

func TestCaddy(t *testing.T) {
	t.Parallel()
	all, flags := only(t, "docs/how-to/ingress/caddy.md", "caddyfile", 2), command(t, "docs/how-to/ingress/caddy.md", "console")
	bare := "app.example.com {\n\t# not ingress-check:8080 \n\treverse_proxy app:3000\n}\n"
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, flags)
		addr := caddy(t, w, all[0])
		decides(t, w, addr)
		res := ask(t, attacker, addr, "/", "Accept", "application/json")
		if res.status != 429 || res.body != `{"title":"Too Many Requests","status":429,"detail":"slow down"}` || res.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("attacker who wants JSON: %d %q", res.status, res.body)
		}
		hostileRequests(t, w, addr, caddy(t, w, bare))
		failsByPath(t, w, addr)
		unreachable(t, w, addr, 502)
	})
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, flags)
		addr := caddy(t, w, all[1])
		decides(t, w, addr)
		hostileRequests(t, w, addr, caddy(t, w, bare))
		unreachable(t, w, addr, 200)
	})
}
