package bench

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/ingress"
	"github.com/wardstream/wardstream/internal/testenv"
)

// askers is how many proxies' connections ask at a time.
const askers = 64

// TestBenchIngress measures the requests that ingress-check answers in a second, with a look-up in
// Redis for each and from a mirror, beside those of an empty net/http handler: same client, same
// request, connections kept open, in turns.
func TestBenchIngress(t *testing.T) {
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	servers := map[string]string{"": ingressCheck(t, env.URL, false), "_mirror": ingressCheck(t, env.URL, true)}
	floor := empty(t)

	rounds, each := size(12, 1), time.Duration(size(1000, 20))*time.Millisecond
	ours := map[string][]time.Duration{} // a request's share of the time
	var theirs []time.Duration
	for range rounds {
		theirs = append(theirs, perRequest(t, floor, each))
		for name, addr := range servers {
			ours[name] = append(ours[name], perRequest(t, addr, each))
		}
	}
	best := 1e6 / quantile(theirs, .5)
	for name := range servers {
		value := 1e6 / quantile(ours[name], .5)
		report(t, figure{
			Name: "ingress_requests_per_second" + name, Value: value, Unit: "requests/s", Samples: rounds,
			Floor: fmt.Sprintf("an empty net/http handler, %.0f requests/s", best), Ratio: value / best,
		})
	}
}

// ingressCheck runs ingress-check until the test ends, and returns its address.
func ingressCheck(t *testing.T, redisURL string, mirror bool) string {
	t.Helper()
	o := ingress.DefaultOptions()
	o.Addr, o.RedisURL, o.TrustedProxies, o.Timeout, o.Mirror = "127.0.0.1:0", redisURL, []string{"127.0.0.0/8"}, time.Second, mirror
	s, err := ingress.New(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

// empty serves nothing, with ingress-check's time limits.
func empty(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	done := make(chan struct{})
	go func() {
		_ = server.Serve(l)
		close(done)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l.Addr().String()
}

// perRequest asks over askers connections for a while. The client is a socket, so that the time is
// the server's.
func perRequest(t *testing.T, addr string, while time.Duration) time.Duration {
	t.Helper()
	var answered atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for n := range askers {
		request := fmt.Appendf(nil, "GET /nginx HTTP/1.1\r\nHost: ingress-check\r\nUser-Agent: curl/8\r\nAccept: */*\r\nX-Forwarded-For: 198.51.100.%d\r\nX-Original-URI: /shop/cart?x=1\r\n\r\n", n)
		all.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			for time.Since(begin) < while {
				if _, err := conn.Write(request); err != nil {
					t.Error(err)
					return
				}
				if err := answerOK(answers); err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	all.Wait()
	return time.Since(begin) / time.Duration(max(answered.Load(), 1))
}

// answerOK reads an answer without a body.
func answerOK(answers *bufio.Reader) error {
	line, err := answers.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if string(line) != "HTTP/1.1 200 OK\r\n" {
		return fmt.Errorf("read answer: %q", line)
	}
	for len(line) > 2 {
		if line, err = answers.ReadSlice('\n'); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
	}
	return nil
}
