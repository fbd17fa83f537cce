package checker

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	var b breaker
	now := t0
	timeOut := func(times int, step time.Duration) {
		for range times {
			if !b.admit(now) {
				t.Fatalf("%v after the beginning: not admitted", now.Sub(t0))
			}
			b.learn(now, true)
			now = now.Add(step)
		}
	}
	timeOut(1000, 0) // a hiccup, however many it hits
	now = t0.Add(stallAfter - 1)
	timeOut(1, 1)
	if b.admit(now) {
		t.Fatal("admitted after a second without an answer")
	}
	if now = now.Add(stallRest); !b.admit(now) || b.admit(now) {
		t.Fatal("want one that tries again")
	}
	if now = now.Add(stallRest); !b.admit(now) {
		t.Fatal("the next isn't admitted while one that tried never came back")
	}
	b.learn(now, true)
	if b.admit(now) {
		t.Fatal("admitted after another one timed out")
	}
	now = now.Add(stallRest)
	b.admit(now)
	b.learn(now, false)
	timeOut(stallLeast, 0)
	if !b.admit(now) {
		t.Fatal("one answer must end it")
	}
	b.learn(now, false)
	now = now.Add(time.Hour)
	timeOut(stallLeast-1, time.Hour) // few, over a long time
	if !b.admit(now) {
		t.Fatal("a few timeouts over a long time count as a stall")
	}
}

// TestStalledStoreIsSpared: once the store is stalled, checks fail at once; the first answer ends
// the stall. A timeout of a caller's shorter deadline does not count.
func TestStalledStoreIsSpared(t *testing.T) {
	t.Parallel()
	asked, answers := 0, false
	var now time.Time
	c := New(prompt{func(ctx context.Context, _ []Scope) ([]Block, error) {
		asked++
		if answers {
			return nil, nil
		}
		until, _ := ctx.Deadline()
		now = until
		return nil, context.DeadlineExceeded
	}}, WithTimeout(200*time.Millisecond))
	c.call.now = func() time.Time { return now }
	now = time.Now()
	short, cancel := context.WithDeadline(t.Context(), now.Add(time.Hour))
	defer cancel()
	for range 2 * stallLeast {
		if d := c.Check(short, everybody); errors.Is(d.Err, ErrStalled) {
			break
		}
	}
	if asked != stallLeast {
		t.Fatalf("%d look-ups timed out, want %d", asked, stallLeast)
	}
	if d := c.Check(t.Context(), everybody); !errors.Is(d.Err, ErrStalled) || ErrorClass(d.Err) != "stalled" || asked != stallLeast {
		t.Fatalf("Check = %+v after %d look-ups", d, asked)
	}
	answers, now = true, now.Add(stallRest)
	for range 2 {
		if d := c.Check(t.Context(), everybody); d.Err != nil {
			t.Fatalf("the store answers: %+v", d)
		}
	}
}

// A memory is a Lookup that knows one block without its store.
type memory struct{ prompt }

func (memory) Known([]Scope) []Block {
	return []Block{{Scope: Scope{Type: ScopeUser, Value: "u"}, Message: "known"}}
}

// TestStalledStoreEnforcesKnownBlocks: blocks that the Lookup knows from memory are enforced while
// the store is stalled.
func TestStalledStoreEnforcesKnownBlocks(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := New(memory{prompt{func(ctx context.Context, _ []Scope) ([]Block, error) {
		now, _ = ctx.Deadline()
		return nil, context.DeadlineExceeded
	}}}, WithTimeout(200*time.Millisecond))
	c.call.now = func() time.Time { return now }
	for range stallLeast {
		c.Check(t.Context(), everybody)
	}
	for user, blocked := range map[string]bool{"u": true, "v": false} {
		if d := c.Check(t.Context(), Subject{User: user}); !errors.Is(d.Err, ErrStalled) || d.Blocked != blocked {
			t.Errorf("%s: %+v", user, d)
		}
	}
}

func TestShortDeadlinesDontStallTheStore(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := New(prompt{func(context.Context, []Scope) ([]Block, error) {
		now = now.Add(time.Second)
		return nil, context.DeadlineExceeded
	}}, WithTimeout(time.Minute))
	c.call.now = func() time.Time { return now }
	for range 5 * stallLeast {
		if d := c.Check(t.Context(), everybody); errors.Is(d.Err, ErrStalled) {
			t.Fatal("stalled by deadlines that were not the checker's")
		}
	}
}
