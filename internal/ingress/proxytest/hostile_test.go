//go:build proxies

package proxytest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/ingress/hostile"
)

func same(target string) string { return target }

// hostileRequests sends the corpus through a proxy: the application sees nothing of a blocked
// client, and a client that is not blocked gets what the proxy without ingress-check, at bare,
// gives it. Requests go at once, since some wait for a body.
func hostileRequests(t *testing.T, w *world, addr, bare string) {
	t.Helper()
	before := w.served.Load()
	var all sync.WaitGroup
	for _, r := range hostile.All() {
		for _, client := range []string{attacker, exile} {
			all.Go(func() {
				if status := converse(t, client, addr, r.Raw(same, "")); w.served.Load() != before {
					t.Errorf("the application saw a request of a blocked client; perhaps %s of %s: %d", r.Name, client, status)
				}
			})
		}
	}
	all.Wait()
	for _, r := range hostile.All() {
		all.Go(func() {
			raw := r.Raw(same, "")
			if got, want := converse(t, visitor, addr, raw), converse(t, visitor, bare, raw); got != want {
				t.Errorf("%s, visitor: %d, without ingress-check %d", r.Name, got, want)
			}
		})
	}
	all.Wait()
}

// patience is how long an answer is waited for.
const patience = 3 * time.Second

// converse sends bytes from a client's address and returns the status of the answer, 0 if there is
// none.
func converse(t *testing.T, from, addr, request string) int {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Error(err)
		return 0
	}
	go func() { _, _ = io.WriteString(conn, request) }()
	for answers := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(answers, &http.Request{Method: http.MethodHead}) //nolint:bodyclose // none comes, and none matters
		if err != nil {
			return 0
		}
		if res.StatusCode >= http.StatusOK {
			return res.StatusCode
		}
	}
}
