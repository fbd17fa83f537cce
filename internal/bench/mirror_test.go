package bench

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/mirror"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// following runs a mirror of the server at url, until the test ends.
func following(t *testing.T, url string) *mirror.Mirror {
	t.Helper()
	client, err := redislookup.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	m := mirror.New(client)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = client.Close()
	})
	testenv.Eventually(t, time.Minute, func() error {
		if s := m.Status(); s.State != mirror.Following {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	return m
}

func storeOf(t *testing.T, client *redis.Client) *redisstore.Blocks {
	t.Helper()
	blocks, err := redisstore.NewBlocks(client, redisstore.BlockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

func putAddr(i int, now time.Time) store.Put {
	addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	return store.Put{EvidenceTime: now, Block: checker.Block{
		ID: fmt.Sprintf("%032x", i), Scope: checker.IPScope(addr, 0), Rule: "brute_force_login",
		Reason: "5 failed logins from " + addr.String(), StatusCode: 429, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}}
}

// TestBenchMirror measures what a mirror of many blocks costs: a check that is clean, by itself and
// on all cores; its heap; its snapshot.
func TestBenchMirror(t *testing.T) {
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	blocks := storeOf(t, env.Client)
	n := size(100_000, 500)
	for from := 0; from < n; from += 500 {
		puts := make([]store.Put, 500)
		for i := range puts {
			puts[i] = putAddr(from+i, time.Now())
		}
		if _, err := blocks.Put(t.Context(), puts); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	m := following(t, env.URL)
	status := m.Status()
	if status.Blocks != n {
		t.Fatalf("%d blocks, want %d", status.Blocks, n)
	}
	if *full {
		report(t, figure{Name: "mirror_heap", Value: (heap() - before) / (1 << 20), Unit: "MiB", Floor: fmt.Sprintf("%d blocks", n), Samples: 1})
		report(t, figure{Name: "mirror_snapshot", Value: status.Took.Seconds() * 1000, Unit: "ms", Floor: fmt.Sprintf("%d blocks", n), Samples: 1})
	}
	subject := checker.Subject{IP: netip.MustParseAddr("203.0.113.9"), User: "42", Session: "s"}
	look := func(n int) {
		for range n {
			if !m.Clean(subject) {
				t.Error("not clean")
				return
			}
		}
	}
	checks := size(5_000_000, 1000)
	alone := perCall(1, checks, look)
	clock := perCall(1, checks, func(n int) {
		for range n {
			_ = time.Now()
		}
	})
	report(t, figure{
		Name: "mirror_check", Value: alone, Unit: "ns", Samples: checks, Floor: fmt.Sprintf("reading the clock, %.0f ns", clock), Ratio: alone / clock,
	})
	cores := runtime.GOMAXPROCS(0)
	together := perCall(cores, checks, look)
	report(t, figure{
		Name: "mirror_check_all_cores", Value: together / float64(cores), Unit: "ns", Samples: cores * checks,
		Floor: fmt.Sprintf("one core alone, %.0f ns", alone), Ratio: together / float64(cores) / alone,
	})
	report(t, figure{Name: "mirror_check_allocations", Value: testing.AllocsPerRun(100, func() { m.Clean(subject) }), Unit: "allocations", Samples: 100})
}

// perCall is how long one of the calls takes in ns, of several goroutines that make n each.
func perCall(goroutines, n int, calls func(n int)) float64 {
	done := make(chan struct{})
	begin := time.Now()
	for range goroutines {
		go func() {
			calls(n)
			done <- struct{}{}
		}()
	}
	for range goroutines {
		<-done
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n)
}

func heap() float64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}

// TestBenchBlockToDenial measures how long it takes from the call that puts a block to the first
// check that a mirror in another process would deny, and the other way for an unblock.
func TestBenchBlockToDenial(t *testing.T) {
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	blocks, m := storeOf(t, env.Client), following(t, env.URL)
	c := checker.New(m)
	get := bareGet(t, env.Addr)
	n := size(2000, 20)
	denials, puts, lifts, gets := make([]time.Duration, n), make([]time.Duration, n), make([]time.Duration, n), make([]time.Duration, n)
	for i := range n {
		put := putAddr(i, time.Now())
		subject := checker.Subject{IP: netip.MustParseAddr(put.Block.Scope.Value)}
		becomes := func(blocked bool) {
			for deadline := time.Now().Add(10 * time.Second); c.Check(t.Context(), subject).Blocked != blocked; {
				if time.Now().After(deadline) {
					t.Fatalf("blocked isn't %v (%+v)", blocked, m.Status())
				}
				time.Sleep(10 * time.Microsecond) //nolint:forbidigo // leaves the core to those that are measured
			}
		}
		begin := time.Now()
		if _, err := blocks.Put(t.Context(), []store.Put{put}); err != nil {
			t.Fatal(err)
		}
		puts[i] = time.Since(begin)
		becomes(true)
		denials[i] = time.Since(begin)
		begin = time.Now()
		if _, err := blocks.Unblock(t.Context(), store.Revocation{Scope: put.Block.Scope, At: begin}); err != nil {
			t.Fatal(err)
		}
		becomes(false)
		lifts[i] = time.Since(begin)
		begin = time.Now()
		get()
		gets[i] = time.Since(begin)
	}
	for _, p := range []float64{.5, .99} {
		floor := quantile(gets, p)
		for name, samples := range map[string][]time.Duration{"block_put": puts, "block_to_denial": denials, "unblock_to_allowed": lifts} {
			value := quantile(samples, p)
			report(t, figure{
				Name: fmt.Sprintf("mirror_%s_p%.0f", name, 100*p), Value: value, Unit: "us", Samples: n,
				Floor: fmt.Sprintf("a bare GET over a socket, %.1f us", floor), Ratio: value / floor,
			})
		}
	}
}
