package detector

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/internal/consumer"
)

// A setClock returns the time that it is set to, or an error.
type setClock struct {
	now   time.Time
	err   error
	asked int
}

func (c *setClock) Time(context.Context, string) (time.Time, error) {
	c.asked++
	return c.now, c.err
}

// TestPipelineFutureEntriesCountAsOfNow: an entry of the future makes Redis give all later ones its
// time. They count as of now: what lies further apart than a window is long makes no attack, and a
// block ends when it should.
func TestPipelineFutureEntriesCountAsOfNow(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	clock := &setClock{now: time.Now()}
	b.clock = clock
	ahead := clock.now.Add(24 * time.Hour).UnixMilli()
	failures := func(n int, ip string) []consumer.Entry {
		entries := b.failures(n, ip)
		for i := range entries {
			entries[i].ID = fmt.Sprintf("%d-%d", ahead, b.entries+i)
		}
		return entries
	}

	b.must("DDDD", failures(4, "203.0.113.9")...)
	clock.now = clock.now.Add(6 * time.Minute)
	b.must("D", failures(1, "203.0.113.9")...)
	if block, ok := b.blocked("ip", "203.0.113.9"); ok {
		t.Errorf("five failures in six minutes are blocked: %+v", block)
	}
	attack := failures(5, "203.0.113.10")
	b.must("DDDDD", attack...)
	block, ok := b.blocked("ip", "203.0.113.10")
	if !ok || block.ExpiresAt.Sub(clock.now.Add(5*time.Minute)).Abs() > time.Second {
		t.Errorf("blocked %v until %s, want five minutes from %s", ok, block.ExpiresAt, clock.now)
	}
	if n := testutil.ToFloat64(b.metrics.future); n != 10 {
		t.Errorf("%v events with a future timestamp, want 10", n)
	}

	clock.err = errDown
	if got, err := b.handle(append(b.failures(1, "203.0.113.11"), failures(1, "203.0.113.11")...)...); got != "PP" || !errors.Is(err, errDown) {
		t.Errorf("verdicts %s (%v) without the time, want PP", got, err)
	}
}

// TestPipelinePresentEntriesReadNoClock: what it costs where nothing is wrong.
func TestPipelinePresentEntriesReadNoClock(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	clock := &setClock{err: errDown}
	b.clock = clock
	b.must("DDD", b.failures(3, "203.0.113.9")...)
	if clock.asked != 0 || testutil.ToFloat64(b.metrics.future) != 0 {
		t.Errorf("asked %d times", clock.asked)
	}
}
