//go:build proxies

package proxytest

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

// unanswered is a socket whose queue of connections is full, so that Linux drops every further SYN.
func unanswered(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		t.Cleanup(func() { _ = syscall.Close(fd) })
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = syscall.Listen(fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	inet, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("the socket's name is %T", name)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", inet.Port)
	for range 16 {
		conn, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the kernel answers every SYN")
	return ""
}

// TestStalledAnswerTimes measures how long a request waits when the proxy's check is not answered,
// with the pages' own time limits, and prints the rows of docs/reference/ingress-check.md's table:
// down (the port refuses), hung (it accepts and never answers), and a SYN that is not answered.
// What it checks is that the request is answered, and how.
func TestStalledAnswerTimes(t *testing.T) {
	t.Parallel()
	page := only(t, "docs/how-to/ingress/nginx.md", "nginx", 2)
	location := page[0][strings.Index(page[0], "  location / {"):strings.Index(page[0], "  location = ")]
	hap, cad := only(t, "docs/how-to/ingress/haproxy.md", "haproxy", 2), only(t, "docs/how-to/ingress/caddy.md", "caddyfile", 2)
	for _, proxy := range []struct {
		name   string
		start  func(*testing.T, *world, string) string
		config string
		want   map[int]bool
	}{
		{"nginx", nginx, page[0], map[int]bool{500: true}},
		{"nginx, open", nginx, strings.Replace(page[0], location, page[1], 1), map[int]bool{200: true}},
		{"HAProxy", haproxy, hap[0], map[int]bool{200: true}},
		{"HAProxy, closed", haproxy, replaced(t, hap[0], "  http-request lua.wardstream\n", "  http-request lua.wardstream\n"+hap[1]), map[int]bool{503: true}},
		{"Caddy", caddy, cad[0], map[int]bool{502: true, 504: true}},
		{"Caddy, open", caddy, cad[1], map[int]bool{200: true}},
	} {
		row := "| " + proxy.name + " |"
		hung := func(t *testing.T) string { return testenv.Silent(t) }
		for _, broken := range []func(*testing.T) string{freeAddr, hung, unanswered} {
			w := &world{t: t, served: &atomic.Int64{}, ingress: broken(t), strict: true}
			w.serveApp()
			addr := proxy.start(t, w, proxy.config)
			var longest time.Duration
			for range 5 {
				begin := time.Now()
				res := ask(t, visitor, addr, "/")
				longest = max(longest, time.Since(begin))
				if !proxy.want[res.status] {
					t.Errorf("%s: %d %q", row, res.status, res.body)
				}
			}
			row += fmt.Sprintf(" %d ms |", longest.Milliseconds())
		}
		t.Log(row)
	}
}
