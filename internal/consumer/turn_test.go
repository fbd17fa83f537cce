package consumer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A registrar notes what its batches do in their turn.
type registrar struct {
	before func(batch []Entry)                   // what a batch does before its turn
	in     func(batch []Entry)                   // in its turn
	after  func(turn *Turn, batch []Entry) error // afterwards

	mu  sync.Mutex
	ids []string
}

func (r *registrar) Handle(ctx context.Context, turn *Turn, batch []Entry) ([]Verdict, error) {
	if r.before != nil {
		r.before(batch)
	}
	turn.Wait(ctx)
	r.mu.Lock()
	for _, e := range batch {
		r.ids = append(r.ids, e.ID)
	}
	r.mu.Unlock()
	if r.in != nil {
		r.in(batch)
	}
	if r.after != nil {
		if err := r.after(turn, batch); err != nil {
			return all(batch, Pending), err
		}
	}
	return all(batch, Done), nil
}

func (r *registrar) noted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

// TestReadLoopsTakeTurnsInStreamOrder has four loops, each slow at random, note a backlog in their
// turns, whether the handler passes its turn on or leaves that to the consumer.
func TestReadLoopsTakeTurnsInStreamOrder(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(*Turn, []Entry) error{
		"passed":    func(turn *Turn, _ []Entry) error { turn.Pass(); return nil },
		"forgotten": func(*Turn, []Entry) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			want := b.add(400)
			h := &registrar{
				before: func([]Entry) { <-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond) }, // loops pass one another here
				after:  after,
			}
			o := b.options()
			o.Loops, o.BatchSize = 4, 7
			b.start(o, h)
			b.eventually(func() error {
				if n := len(h.noted()); n < len(want) {
					return fmt.Errorf("%d of %d entries handled", n, len(want))
				}
				return nil
			})
			if got := h.noted(); !slices.Equal(got, want) {
				t.Errorf("entries out of order: %v", got)
			}
		})
	}
}

// TestSlowBatchDelaysNoOther: a loop that waits for a slow batch gives up, and is counted.
func TestSlowBatchDelaysNoOther(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ids := b.add(40)
	done := make(chan struct{})
	h := &registrar{before: func(batch []Entry) {
		if batch[0].ID == ids[0] {
			<-done
		}
	}}
	o := b.options()
	o.Loops, o.BatchSize = 2, 10
	w := b.start(o, h)
	b.eventually(func() error {
		if n := len(h.noted()); n < 30 {
			return fmt.Errorf("%d entries handled beside the slow batch", n)
		}
		return nil
	})
	close(done)
	b.eventually(func() error {
		if n := len(h.noted()); n < len(ids) {
			return fmt.Errorf("%d of %d entries handled", n, len(ids))
		}
		return nil
	})
	b.eventually(func() error {
		return want("batches out of order", int(testutil.ToFloat64(w.loops[0].metrics.outOfOrder)), 1)
	})
}

// TestTurnKeepsOrder: a batch that passes before those before it have done so keeps the order.
func TestTurnKeepsOrder(t *testing.T) {
	t.Parallel()
	s := newSequence(nil)
	next := func() *Turn {
		if !s.begin(t.Context(), 0) {
			t.Fatal("no loop reads, and reading is refused")
		}
		if s.begin(t.Context(), 0) {
			t.Fatal("two read at a time")
		}
		return s.end()
	}
	first, second := next(), next()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if second.Wait(ended) {
		t.Error("the second has its turn before the first has passed")
	}
	first.Pass()
	first.Pass()
	if !second.Wait(ended) {
		t.Error("the second has not its turn though the first has passed")
	}
	if !first.Wait(ended) || !(*Turn)(nil).Wait(ended) {
		t.Error("a turn that nothing is before waits")
	}
	(*Turn)(nil).Pass()
}
