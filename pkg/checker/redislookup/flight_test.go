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

// TestManyAtOnce: look-ups that share round trips get their own answers, under churn.
func TestManyAtOnce(t *testing.T) {
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

// TestLookupsShareRoundTrips: while as many trips as may be are under way, those who come gather and go together.
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
	for i := range maxFlights {
		ask("first-" + strconv.Itoa(i))
		testenv.Eventually(t, time.Minute, func() error { return want(hook.count(), i+1) })
	}
	for i := range late {
		ask("late-" + strconv.Itoa(i))
	}
	testenv.Eventually(t, time.Minute, func() error {
		l.flights.mu.Lock()
		defer l.flights.mu.Unlock()
		return want(len(l.flights.waiting), late)
	})
	close(hook.hold)
	done.Wait()
	if got := hook.count(); got != maxFlights+2 {
		t.Fatalf("%d round trips, want %d and 2 for the %d late ones", got, maxFlights, late)
	}
	testenv.Eventually(t, time.Minute, func() error {
		l.flights.mu.Lock()
		defer l.flights.mu.Unlock()
		return want(l.flights.flying, 0)
	})
}

func want(got, want int) error {
	if got != want {
		return fmt.Errorf("%d, want %d", got, want)
	}
	return nil
}

// TestGatheredLookupsKeepTheirDeadlines: who waits for a stalled trip leaves in time, and takes no part in the next.
func TestGatheredLookupsKeepTheirDeadlines(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete()
	hook := &counted{hold: make(chan struct{})}
	f.client.AddHook(hook)
	l := f.lookup(WithPermanentTier())
	var stalled sync.WaitGroup
	for i := range maxFlights {
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
	if got := hook.count(); got != maxFlights {
		t.Fatalf("%d round trips: one was made for who had left", got)
	}
	if _, err := l.Lookup(t.Context(), all); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

// TestClusterLookupsGoApart: in a Cluster one server that hangs must not hold up those who don't ask it.
func TestClusterLookupsGoApart(t *testing.T) {
	t.Parallel()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{closedPort(t)}})
	t.Cleanup(func() { _ = client.Close() })
	f := &New(client).flights
	var under sync.WaitGroup
	under.Add(2 * maxFlights)
	f.ask = func(_ context.Context, together []*question) {
		if len(together) != 1 {
			t.Errorf("%d together", len(together))
		}
		under.Done()
		under.Wait() // until all are under way at once
	}
	var done sync.WaitGroup
	for range 2 * maxFlights {
		done.Go(func() {
			if err := f.fly(t.Context(), new(questions).about(rediskey.Keys{Prefix: "p"}, all)); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
}

// TestPanicOfASharedTrip: it is the failure of the look-ups, not the end of the process.
func TestPanicOfASharedTrip(t *testing.T) {
	t.Parallel()
	f := &flights{ask: func(context.Context, []*question) { panic("odd hook") }, flying: maxFlights}
	var done sync.WaitGroup
	for range 3 {
		done.Go(func() {
			q := new(questions).about(rediskey.Keys{Prefix: "p"}, all)
			if err := f.fly(t.Context(), q); err != nil || q.reply.err == nil {
				t.Errorf("fly = %v, reply %+v", err, q.reply)
			}
		})
	}
	testenv.Eventually(t, time.Minute, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return want(len(f.waiting), 3)
	})
	f.land()
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
