package ingress

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestUnknownEndpoints(t *testing.T) {
	t.Parallel()
	i := start(t, onRedis(blocked(t)))
	for _, path := range []string{"/ngnix", "/nginx/", "//", "/./", "/check", "/Nginx", "/index.html", "/healthz/", "/ingress-nginx/", "/metricsx"} {
		if res := i.ask(path, "X-Forwarded-For", visitor); res.status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, res.status)
		}
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, onRedis(env))
	i.ask("/", "X-Forwarded-For", attacker)
	i.ask("/", "X-Forwarded-For", visitor)
	i.ask("/", "X-Forwarded-For", "10.0.0.9")
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if res := i.ask(path); res.status != 200 || res.body != want {
			t.Errorf("%s: %d", path, res.status)
		}
	}
	text := i.ask("/metrics").body
	for _, want := range []string{
		`wardstream_ingress_decisions_total{result="allowed"} 2`, `wardstream_ingress_decisions_total{result="blocked"} 1`,
		`wardstream_ingress_decisions_total{result="failed_open"} 0`, "wardstream_ingress_check_duration_seconds_count 3",
		"wardstream_ingress_client_is_proxy_total 1", "go_goroutines ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, attacker) {
		t.Error("an address is in the metrics")
	}
}

func TestOperationsOnSeparateListener(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.HTTPAddr = "127.0.0.1:0"
	})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if res := i.ask(path); res.status != http.StatusNotFound {
			t.Errorf("%s on the proxies' listener: %d", path, res.status)
		}
		if res := get(t, "http://"+i.server.HTTPAddr()+path); res.status != 200 {
			t.Errorf("%s: %d", path, res.status)
		}
	}
	if res := get(t, "http://"+i.server.HTTPAddr()+"/nginx"); res.status != http.StatusNotFound {
		t.Errorf("an endpoint on the operators' listener: %d", res.status)
	}
}

// raw sends bytes and returns the status line of the answer.
func (i *instance) raw(request string) string {
	i.t.Helper()
	conn, err := net.Dial("tcp", i.server.Addr())
	if err != nil {
		i.t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		i.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestRawRequests(t *testing.T) {
	t.Parallel()
	i := start(t, onRedis(blocked(t)))
	for request, want := range map[string]string{
		"GET /nginx HTTP/1.0\r\nX-Forwarded-For: " + attacker + "\r\n\r\n":                                                   "HTTP/1.0 403 Forbidden",
		"HEAD / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + attacker + "\r\n\r\n":                                            "HTTP/1.1 429 Too Many Requests",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Forwarded-For: " + attacker + "\r\n\r\nhello":                  "HTTP/1.1 429 Too Many Requests",
		"GET /envoy/../../healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + attacker + "\r\n\r\n":                          "HTTP/1.1 429 Too Many Requests",
		"GET /envoy//a/./b HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + visitor + "\r\n\r\n":                                  "HTTP/1.1 200 OK",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n":                                                                              "HTTP/1.1 200 OK",
		"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 48<<10) + "\r\nX-Forwarded-For: " + attacker + "\r\n\r\n": "HTTP/1.1 429 Too Many Requests",
	} {
		if got := i.raw(request); got != want {
			t.Errorf("%.60q: %q, want %q", request, got, want)
		}
	}
}
