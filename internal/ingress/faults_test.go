package ingress

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// byFailMode shows that the fail mode decides and that the failure is counted and reported. No
// request may wait for the store: that would be for an hour.
func byFailMode(t *testing.T, i *instance, class string) {
	t.Helper()
	for range 3 {
		if res := i.ask("/envoy/x", "X-Forwarded-For", visitor); res.status != 200 {
			t.Errorf("open path: %d", res.status)
		}
		if res := i.ask("/envoy/pay", "X-Forwarded-For", visitor); res.status != 429 || res.body != checker.DefaultMessage {
			t.Errorf("closed path: %d %q", res.status, res.body)
		}
	}
	text := i.ask("/metrics").body
	for _, want := range []string{`errors_total{type="` + class, `decisions_total{result="failed_open"} 3`, `decisions_total{result="failed_closed"} 3`} {
		if !strings.Contains(text, "wardstream_ingress_"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	lines := reported(t, i)
	if lines[0]["error.type"] == "" || lines[0]["level"] != "ERROR" {
		t.Errorf("log lines %v", lines)
	}
}

// answering is a server that answers whatever it is sent with text; "" means never.
func answering(t *testing.T, text string) string {
	t.Helper()
	return testenv.Listen(t, func(conn net.Conn) {
		defer conn.Close()
		buf := make([]byte, 4096)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	})
}

// TestServerThatIsNotRedis: what listens there speaks something else, or Redis's language to no
// purpose.
func TestServerThatIsNotRedis(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n", "noise": "\x00\xff\x13\x37\r\n", "another type": "+OK\r\n+OK\r\n", "too few values": "*1\r\n$-1\r\n*1\r\n$-1\r\n",
		"numbers": "*2\r\n:1\r\n:2\r\n*1\r\n:1\r\n", "a length that lies": "*1000000\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := start(t, func(o *Options) {
				o.RedisURL, o.Timeout = "redis://"+answering(t, text)+"?read_timeout=1h", 50*time.Millisecond
				o.FailClosedPaths = []string{"^/pay"}
			})
			byFailMode(t, i, "")
		})
	}
}

// TestPostgresFaults: slow, silent, down.
func TestPostgresFaults(t *testing.T) {
	t.Parallel()
	closed := func(url string) func(*Options) {
		return func(o *Options) {
			o.PostgresURL, o.Timeout, o.FailClosedPaths = url, 50*time.Millisecond, []string{"^/pay"}
		}
	}
	t.Run("down", func(t *testing.T) {
		t.Parallel()
		byFailMode(t, start(t, closed("postgres://u@"+testenv.ClosedPort(t)+"/d?sslmode=disable")), "")
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		byFailMode(t, start(t, closed("postgres://u@"+answering(t, "")+"/d?sslmode=disable&connect_timeout=1")), "timeout")
	})
	t.Run("garbage", func(t *testing.T) {
		t.Parallel()
		byFailMode(t, start(t, closed("postgres://u@"+answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n")+"/d?sslmode=disable")), "")
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		env := migrated(t)
		insert(t, env, attacker)
		i := start(t, closed(env.URL))
		tx, err := env.Pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "LOCK TABLE permanent_blocks IN ACCESS EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		byFailMode(t, i, "timeout")
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, 30*time.Second, func() error {
			if res := i.ask("/envoy/x", "X-Forwarded-For", attacker); res.status != 403 {
				return fmt.Errorf("attacker, after the lock is gone: %d", res.status)
			}
			return nil
		})
	})
}

// TestFloodLeavesNothing: thousands of addresses that come once leave nothing behind, neither
// series nor log lines, from proxies or from strangers.
func TestFloodLeavesNothing(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, onRedis(env))
	distrusting := start(t, func(o *Options) {
		onRedis(env)(o)
		o.TrustedProxies = nil
	})
	series := func(i *instance) int { return strings.Count(i.ask("/metrics").body, "\nwardstream_") }
	i.ask("/", "X-Forwarded-For", "junk")
	before := series(i)
	for n := range 3000 {
		claimed := fmt.Sprintf("2001:db8::%x", n)
		if n%3 == 0 {
			claimed = fmt.Sprintf("user-%d", n) // no address
		}
		if res := i.ask("/", "X-Forwarded-For", claimed); res.status != 200 {
			t.Fatalf("%s: %d", claimed, res.status)
		}
		distrusting.ask("/", "X-Forwarded-For", claimed)
	}
	if after := series(i); after != before {
		t.Errorf("%d series have become %d", before, after)
	}
	for _, lines := range [][]map[string]any{
		reported(t, i), distrusting.log.lines(t, "the client that a peer names is ignored: it is not in trusted_proxies"),
	} {
		if len(lines) == 0 || len(lines) > 300 {
			t.Errorf("%d log lines", len(lines))
		}
	}
	if res := i.ask("/", "X-Forwarded-For", attacker); res.status != 429 {
		t.Errorf("attacker amid the flood: %d", res.status)
	}
	keys, err := env.Client.Keys(t.Context(), env.Prefix+":*").Result()
	if err != nil || len(keys) != 2 {
		t.Errorf("keys in Redis %v, %v", keys, err)
	}
}
