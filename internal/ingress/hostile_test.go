package ingress

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/ingress/hostile"
)

// roundTrip sends bytes and returns the answer, whose body is read to its end. The connection stays
// open on our side, as of a proxy that waits.
func roundTrip(t testing.TB, addr, request string) response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, request) }()
	method, _, _ := strings.Cut(strings.TrimLeft(request, "\r\n"), " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Errorf("%.80q: no answer: %v", request, err)
		return response{}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%.80q: %v", request, err)
	}
	return response{res.StatusCode, res.Header, string(body)}
}

// TestHostileRequests: whatever a client's request looks like, and however much of it a proxy
// passes on, the answer is the decision about that client. ingress-check never answers 400, 404,
// 405, 413, 417 or 431 by itself.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	i := start(t, onRedis(blocked(t)))
	aims := map[string]func(string) string{"/envoy": hostile.Behind("/envoy")}
	for _, endpoint := range []string{"/", "/nginx", "/ingress-nginx", "/traefik", "/caddy?", "/haproxy"} {
		aims[endpoint] = hostile.Fixed(endpoint)
	}
	for endpoint, aim := range aims {
		for _, r := range hostile.All() {
			denied := 429
			if strings.HasSuffix(endpoint, "nginx") {
				denied = 403
			}
			for client, want := range map[string]int{visitor: 200, attacker: denied, exile: 403} {
				if got := roundTrip(t, i.server.Addr(), r.Raw(aim, "X-Forwarded-For: "+client+"\r\n")); got.status != want {
					t.Errorf("%s, %s, %s: %d, want %d", endpoint, r.Name, client, got.status, want)
				}
			}
		}
	}
}

// TestHostileTable: the requests of the page's table are in the corpus, and Go's own server answers
// them as it says.
func TestHostileTable(t *testing.T) {
	t.Parallel()
	bare := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }))
	bare.Config.MaxHeaderBytes, bare.Config.ErrorLog = 64<<10, slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	bare.Start()
	defer bare.Close()
	corpus := map[string]hostile.Request{}
	for _, r := range hostile.All() {
		corpus[r.Name] = r
	}
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| (\d+) \| the decision`).FindAllStringSubmatch(page(t, "reference/ingress-check.md"), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows {
		r, ok := corpus[row[1]]
		if !ok {
			t.Errorf("the corpus has no %q", row[1])
			continue
		}
		raw := r.Raw(func(target string) string { return target }, "")
		if got := roundTrip(t, bare.Listener.Addr().String(), raw); strconv.Itoa(got.status) != row[2] {
			t.Errorf("%s: Go's server answers %d, the page says %s", row[1], got.status, row[2])
		}
	}
}

// TestHostileRequestsOfUntrustedPeers: from a peer that is not a proxy, too, the answer is the
// decision about it.
func TestHostileRequestsOfUntrustedPeers(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.TrustedProxies = nil
	})
	for _, want := range []int{200, 429} {
		if want == 429 {
			blockIn(t, env, "ip", "127.0.0.1", time.Hour)
		}
		for _, r := range hostile.All() {
			if got := roundTrip(t, i.server.Addr(), r.Raw(hostile.Fixed("/"), "")); got.status != want {
				t.Errorf("%s: %d, want %d", r.Name, got.status, want)
			}
		}
	}
}

// TestGarbageIsAnswered: what isn't even a request gets the decision about the peer, or the fail
// mode's.
func TestGarbageIsAnswered(t *testing.T) {
	t.Parallel()
	i := start(t, func(o *Options) {
		onRedis(blocked(t))(o)
		o.FailClosedPaths, o.Message = []string{"^/pay"}, "closed"
	})
	for _, garbage := range []string{
		"nonsense\r\n\r\n", "\x00\x01\x02\r\n\r\n", "GET\r\n\r\n", "GET  \r\n\r\n", " / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", ": :\r\n:\r\n\r\n",
		strings.Repeat("\r\n", 20) + "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", strings.Repeat("a", 200<<10) + "\r\n\r\n",
		"POST / HTTP/1.1\r\nX-Forwarded-For: " + visitor + "\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 17<<10),
	} {
		if got := roundTrip(t, i.server.Addr(), garbage); got.status != 429 || got.body != "closed" {
			t.Errorf("%.40q: %d %q", garbage, got.status, got.body)
		}
	}
}
