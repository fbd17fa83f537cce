package redislookup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestConcurrentLookupsGetTheirOwnAnswers: look-ups that share round trips get their own answers,
// under churn.
func TestConcurrentLookupsGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete()
	f.member(made(checker.Scope{Type: "user", Value: "3"}, "perm-3", 0))
	for i := range 64 {
		if i%3 == 0 {
			f.key(made(checker.Scope{Type: "user", Value: strconv.Itoa(i)}, "temp-"+strconv.Itoa(i), time.Hour))
		}
	}
	l := f.lookup(WithPermanentTier())
	var done sync.WaitGroup
	for i := range 64 {
		done.Go(func() {
			scope := checker.Scope{Type: "user", Value: strconv.Itoa(i)}
			want := []string{}
			switch {
			case i == 3:
				want = append(want, "user:perm-3")
			case i%3 == 0:
				want = append(want, "user:temp-"+scope.Value)
			}
			for range 200 {
				blocks, err := l.Lookup(t.Context(), []checker.Scope{{Type: "session", Value: "s" + scope.Value}, scope})
				if got := messages(blocks); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("look-up %d: %v, %v; want %v", i, got, err, want)
					return
				}
			}
		})
	}
	done.Wait()
}

// counted counts the round trips of a client.
type counted struct {
	mu    sync.Mutex
	trips int
	hold  chan struct{} // a trip waits for it to be closed
}

func (c *counted) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *counted) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (c *counted) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.mu.Lock()
		c.trips++
		c.mu.Unlock()
		<-c.hold
		return next(ctx, cmds)
	}
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trips
}

// TestLookupsShareRoundTrips: while the maximum of round trips is in use, further look-ups wait and
// share the next.
func TestLookupsShareRoundTrips(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete()
	hook := &counted{hold: make(chan struct{})}
	f.client.AddHook(hook)
	l := f.lookup(WithPermanentTier())
	const late = 3 * maxShared / 2
	var done sync.WaitGroup
	ask := func(value string) {
		done.Go(func() {
			if _, err := l.Lookup(t.Context(), []checker.Scope{{Type: "user", Value: value}}); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range maxTrips {
		ask("first-" + strconv.Itoa(i))
		testenv.Eventually(t, time.Minute, func() error { return want(hook.count(), i+1) })
	}
	for i := range late {
		ask("late-" + strconv.Itoa(i))
	}
	testenv.Eventually(t, time.Minute, func() error {
		l.batcher.mu.Lock()
		defer l.batcher.mu.Unlock()
		return want(len(l.batcher.waiting), late)
	})
	close(hook.hold)
	done.Wait()
	if got := hook.count(); got != maxTrips+2 {
		t.Fatalf("%d round trips, want %d and 2 for the %d late ones", got, maxTrips, late)
	}
	testenv.Eventually(t, time.Minute, func() error {
		l.batcher.mu.Lock()
		defer l.batcher.mu.Unlock()
		return want(l.batcher.active, 0)
	})
}

func want(got, want int) error {
	if got != want {
		return fmt.Errorf("%d, want %d", got, want)
	}
	return nil
}

// TestGatheredLookupsKeepTheirDeadlines: a look-up that waits for a stalled round trip returns at
// its deadline and is not part of the next one.
func TestGatheredLookupsKeepTheirDeadlines(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete()
	hook := &counted{hold: make(chan struct{})}
	f.client.AddHook(hook)
	l := f.lookup(WithPermanentTier())
	var stalled sync.WaitGroup
	for i := range maxTrips {
		stalled.Go(func() {
			if _, err := l.Lookup(t.Context(), all); err != nil {
				t.Error(err)
			}
		})
		testenv.Eventually(t, time.Minute, func() error { return want(hook.count(), i+1) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Lookup(ctx, all); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Lookup = %v, want its deadline", err)
	}
	close(hook.hold)
	stalled.Wait()
	if got := hook.count(); got != maxTrips {
		t.Fatalf("%d round trips: one was made for a look-up that had timed out", got)
	}
	if _, err := l.Lookup(t.Context(), all); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

// TestClusterLookupsAreSentPerServer: in a Cluster, a server that hangs must not delay look-ups
// that do not need it.
func TestClusterLookupsAreSentPerServer(t *testing.T) {
	t.Parallel()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{testenv.ClosedPort(t)}})
	t.Cleanup(func() { _ = client.Close() })
	b := &New(client).batcher
	var under sync.WaitGroup
	under.Add(2 * maxTrips)
	b.ask = func(_ context.Context, together []*question) {
		if len(together) != 1 {
			t.Errorf("%d together", len(together))
		}
		under.Done()
		under.Wait() // until all are under way at once
	}
	var done sync.WaitGroup
	for range 2 * maxTrips {
		done.Go(func() {
			if err := b.submit(t.Context(), new(questions).about(rediskey.Keys{Prefix: "p"}, all)); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
}

// TestPanicInSharedRoundTripIsAnError: a panic is the error of the look-ups and does not end the
// process.
func TestPanicInSharedRoundTripIsAnError(t *testing.T) {
	t.Parallel()
	b := &batcher{ask: func(context.Context, []*question) { panic("odd hook") }, active: maxTrips}
	var done sync.WaitGroup
	for range 3 {
		done.Go(func() {
			q := new(questions).about(rediskey.Keys{Prefix: "p"}, all)
			if err := b.submit(t.Context(), q); err != nil || q.reply.err == nil {
				t.Errorf("submit = %v, reply %+v", err, q.reply)
			}
		})
	}
	testenv.Eventually(t, time.Minute, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		return want(len(b.waiting), 3)
	})
	b.release()
	done.Wait()
}

// TestAllocations holds what a check costs in memory, through go-redis and back.
func TestAllocations(t *testing.T) {
	f := newFixture(t)
	f.complete()
	f.key(made(user, "temp", time.Hour))
	c := checker.New(f.lookup(WithPermanentTier()), checker.WithTimeout(time.Minute))
	for name, tc := range map[string]struct {
		subject checker.Subject
		most    float64
	}{
		"clean":     {checker.Subject{IP: netip.MustParseAddr("203.0.113.9"), User: "43", Session: "s1"}, 22},
		"temporary": {checker.Subject{IP: netip.MustParseAddr("203.0.113.9"), User: "42", Session: "s1"}, 40},
	} {
		if n := testing.AllocsPerRun(200, func() { c.Check(t.Context(), tc.subject) }); n > tc.most && !raceEnabled {
			t.Errorf("a check that is %s allocates %v times, more than %v", name, n, tc.most)
		}
	}
}
