package bench

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// visitor has the three scopes that every request has, and isn't blocked.
var visitor = checker.Subject{IP: netip.MustParseAddr("203.0.113.9"), User: "42", Session: "s"}

// TestBenchCheck measures a check of three scopes that are not blocked, permanent blocks included,
// beside a bare GET over a socket of its own, in turn: with no permanent blocks and with many.
func TestBenchCheck(t *testing.T) {
	for _, permanent := range []int{0, size(1_000_000, 1000)} {
		env, c := checkEnv(t, permanent)
		name := fmt.Sprintf("check_permanent_%d", permanent)
		get := bareGet(t, env.Addr)
		n := size(30_000, 50)
		checks, gets := make([]time.Duration, n), make([]time.Duration, n)
		for i := range n {
			gets[i], checks[i] = timed(get), timed(func() { mustAllow(t, c) })
		}
		for _, p := range []float64{.5, .99} {
			floor, value := quantile(gets, p), quantile(checks, p)
			report(t, figure{
				Name: fmt.Sprintf("%s_p%.0f", name, 100*p), Value: value, Unit: "us", Samples: n,
				Floor: fmt.Sprintf("a bare GET over a socket, %.1f us", floor), Ratio: value / floor,
			})
		}
		runs := size(1000, 10)
		report(t, figure{Name: name + "_allocations", Value: testing.AllocsPerRun(runs, func() { mustAllow(t, c) }), Unit: "allocations", Samples: runs})
		env.Kill()
	}
}

// TestBenchCheckThroughput measures checks by many goroutines at once beside bare GETs by as many,
// each over a socket of its own, in turn.
func TestBenchCheckThroughput(t *testing.T) {
	const goroutines = 256
	env, c := checkEnv(t, size(100_000, 100))
	gets := make([]func(), goroutines)
	for i := range gets {
		gets[i] = bareGet(t, env.Addr)
	}
	var floor, value, ratio []float64
	n := size(2000, 2) // each goroutine's
	for range size(9, 1) {
		get := rate(goroutines, n, func(g int) { gets[g]() })
		check := rate(goroutines, n, func(int) { mustAllow(t, c) })
		floor, value, ratio = append(floor, get), append(value, check), append(ratio, check/get)
	}
	report(t, figure{
		Name: "check_256_goroutines", Value: median(value), Unit: "checks/s", Samples: len(value) * goroutines * n,
		Floor: fmt.Sprintf("bare GETs over 256 sockets, %.0f/s", median(floor)), Ratio: median(ratio),
	})
}

// checkEnv starts a Redis that has a complete membership hash of n permanent blocks, and a checker
// over it.
func checkEnv(t *testing.T, n int) (*testenv.PrivateRedisEnv, *checker.Checker) {
	t.Helper()
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	client, err := redislookup.Connect(env.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	fillPermanent(t, env.Client, n)
	return env, checker.New(redislookup.New(client, redislookup.WithPermanentTier()), checker.WithTimeout(time.Second))
}

func fillPermanent(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	hash := rediskey.Keys{Prefix: rediskey.DefaultPrefix}.Permanent()
	fields := []any{rediskey.CompleteField, "1"}
	for i := 0; ; i++ {
		if i == n || len(fields) > 2000 {
			if err := client.HSet(t.Context(), hash, fields...).Err(); err != nil {
				t.Fatal(err)
			}
			fields = fields[:0]
		}
		if i == n {
			return
		}
		fields = append(fields, "user:blocked-"+strconv.Itoa(i), `{"r":"sensitive_field_change"}`)
	}
}

func mustAllow(t *testing.T, c *checker.Checker) {
	if d := c.Check(t.Context(), visitor); d.Blocked || d.Err != nil {
		t.Errorf("decision %+v", d)
	}
}

func timed(do func()) time.Duration {
	begin := time.Now()
	do()
	return time.Since(begin)
}

// rate is how often do is done in a second, by each of the goroutines n times.
func rate(goroutines, n int, do func(goroutine int)) float64 {
	var done sync.WaitGroup
	begin := time.Now()
	for g := range goroutines {
		done.Go(func() {
			for range n {
				do(g)
			}
		})
	}
	done.Wait()
	return float64(goroutines*n) / time.Since(begin).Seconds()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
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
	request := []byte("*2\r\n$3\r\nGET\r\n$38\r\nwardstream:block:ip:203.0.113.9-absent\r\n")
	return func() {
		if _, err := conn.Write(request); err != nil {
			t.Error(err)
			return
		}
		if line, err := replies.ReadSlice('\n'); err != nil || string(line) != "$-1\r\n" {
			t.Errorf("%q, %v", line, err)
		}
	}
}
