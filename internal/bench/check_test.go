package bench

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// TestBenchCheck measures a check of three scopes that are not blocked beside
// a bare GET over a socket of its own, in turn.
func TestBenchCheck(t *testing.T) {
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	client, err := redislookup.Connect(env.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	c := checker.New(redislookup.New(client), checker.WithTimeout(time.Second))
	subject := checker.Subject{IP: netip.MustParseAddr("203.0.113.9"), User: "42", Session: "s"}
	get := bareGet(t, env.Addr)

	n := size(30_000, 50)
	checks, gets := make([]time.Duration, n), make([]time.Duration, n)
	for i := range n {
		begin := time.Now()
		get()
		gets[i] = time.Since(begin)
		begin = time.Now()
		if d := c.Check(t.Context(), subject); d.Blocked || d.Err != nil {
			t.Fatalf("decision %+v", d)
		}
		checks[i] = time.Since(begin)
	}
	for _, p := range []float64{.5, .99} {
		floor, value := quantile(gets, p), quantile(checks, p)
		report(t, figure{
			Name: fmt.Sprintf("check_p%.0f", 100*p), Value: value, Unit: "us", Samples: n,
			Floor: fmt.Sprintf("a bare GET over a socket, %.1f us", floor), Ratio: value / floor,
		})
	}
	allocations := testing.AllocsPerRun(size(1000, 10), func() { c.Check(t.Context(), subject) })
	report(t, figure{Name: "check_allocations", Value: allocations, Unit: "allocations", Samples: size(1000, 10)})
}

// bareGet returns a function that asks Redis for a key that isn't there, with
// nothing in between.
func bareGet(t *testing.T, addr string) func() {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	replies := bufio.NewReader(conn)
	return func() {
		if _, err := conn.Write([]byte("*2\r\n$3\r\nGET\r\n$38\r\nwardstream:block:ip:203.0.113.9-absent\r\n")); err != nil {
			t.Fatal(err)
		}
		if line, err := replies.ReadString('\n'); err != nil || line != "$-1\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
}
