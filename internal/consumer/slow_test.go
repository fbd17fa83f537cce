package consumer

import (
	"context"
	"flag"
	"slices"
	"testing"
	"time"
)

// slowFor is how long the slow entry takes at least; claims come after a third of it.
var slowFor = flag.Duration("slow", 9*time.Second, "how long TestSlowEntryDelaysNoOther's entry takes")

// TestSlowEntryDelaysNoOther: while an entry takes long it and its neighbours are not claimed,
// other loops and workers go on, and the loop's health says where it stands. In the end everything
// was handled once.
func TestSlowEntryDelaysNoOther(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	release, began := make(chan struct{}), make(chan time.Time, 1)
	neighbours := b.add(5)
	slow := b.add(1, "slow", "")[0]
	neighbours = append(neighbours, b.add(5)...)
	handler := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		if slices.ContainsFunc(batch, func(e Entry) bool { return e.ID == slow }) {
			began <- time.Now()
			<-release
		}
		return all(batch, Done), nil
	}}
	o, other := b.options(), b.options()
	o.Loops, o.ClaimMinIdle = 2, *slowFor/3
	other.Consumer, other.ClaimMinIdle = "other", o.ClaimMinIdle
	w, w2 := b.start(o, handler), b.start(other, handler)
	t.Cleanup(func() { // before the workers are stopped
		select {
		case <-release:
		default:
			close(release)
		}
	})
	stuckSince := <-began
	meanwhile := 0
	b.eventually(func() error {
		id := b.add(1)[0]
		b.eventually(func() error { return want("handled meanwhile", handler.times(id), 1) })
		meanwhile++
		return olderThan(b, slow, *slowFor)
	})
	b.eventually(func() error {
		stuck := 0
		for _, h := range append(w.Health(), w2.Health()...) {
			if h.Progress.Before(stuckSince) {
				stuck++
			}
		}
		return want("loops that stand still", stuck, 1)
	})
	close(release)
	b.allHandled(append(neighbours, slow), handler)
	for _, id := range handler.ids() {
		if n, e := handler.times(id), handler.entry(id); n != 1 || e.Deliveries != 1 {
			t.Errorf("%s was handled %d times, at delivery %d", id, n, e.Deliveries)
		}
	}
	if n := len(handler.ids()); n != 11+meanwhile || len(b.deadLetters()) != 0 || w.metric("wardstream_entries_claimed_total")+w2.metric("wardstream_entries_claimed_total") != 0 {
		t.Errorf("%d entries handled of %d, %d dead letters", n, 11+meanwhile, len(b.deadLetters()))
	}
}
