package consumer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// TestBehindIsReportedAndLogged: while the oldest unprocessed entry is too old a metric says so,
// and a warning now and then.
func TestBehindIsReportedAndLogged(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.addAt(time.Now().Add(-time.Hour), 1)
	release := make(chan struct{})
	h := &recorder{handle: func(ctx context.Context, batch []Entry) ([]Verdict, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return all(batch, Done), nil
	}}
	var log logRecorder
	o := b.options()
	o.MaxLag, o.Logger = time.Minute, slog.New(slog.NewTextHandler(&log, nil))
	o.every.sample, o.every.warn = 10*time.Millisecond, time.Hour
	w := b.start(o, h)
	b.eventually(func() error { return want("over the limit", w.metric("wardstream_stream_over_max_lag"), 1.0) })
	b.eventually(func() error {
		if !log.have("the group is behind", "max_lag=1m0s", "pending=") {
			return errors.New("no warning")
		}
		return nil
	})
	close(release)
	b.eventually(func() error { return want("over the limit", w.metric("wardstream_stream_over_max_lag"), 0.0) })
	_ = w.stop()
	if n := log.count("the group is behind"); n != 1 {
		t.Errorf("%d warnings within an hour", n)
	}
}

// TestBacklogStaysInRedis: however much waits, a loop has no more in flight than a batch.
func TestBacklogStaysInRedis(t *testing.T) {
	t.Parallel()
	const loops, batch, backlog = 3, 50, 5000
	b := newFixture(t)
	ids := b.add(backlog)
	release := make(chan struct{})
	h := &recorder{handle: func(ctx context.Context, batch []Entry) ([]Verdict, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return all(batch, Done), nil
	}}
	o := b.options()
	o.Loops, o.BatchSize = loops, batch
	w := b.start(o, h)
	b.eventually(func() error {
		n, err := b.pending()
		return errors.Join(err, want("in flight", n, int64(loops*batch)))
	})
	b.add(backlog) // no reader asks for it
	if n, err := b.pending(); err != nil || n != loops*batch {
		t.Errorf("%d in flight, %v", n, err)
	}
	close(release)
	b.allHandled(ids, h)
	_ = w.stop()
	if h.largest > batch {
		t.Errorf("a batch had %d entries", h.largest)
	}
}

// TestTriedEntriesAreFlagged: entries that may have been handled before, here or elsewhere, are
// flagged: claimed ones, and those that an outage or a neighbour's panic brings again.
func TestTriedEntriesAreFlagged(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	claimed := b.deliverOften(1)
	fresh := b.add(3)
	tried := map[string][]bool{} // only the loop's goroutine handles
	h := &recorder{}
	h.handle = func(_ context.Context, batch []Entry) ([]Verdict, error) {
		for _, e := range batch {
			tried[e.ID] = append(tried[e.ID], e.Tried)
		}
		switch {
		case h.times(batch[0].ID) == 1:
			return all(batch, Pending), errOutage
		case h.times(batch[0].ID) == 2 && len(batch) > 1:
			panic("one of them")
		}
		return all(batch, Done), nil
	}
	o := b.options()
	o.ClaimMinIdle = 500 * time.Millisecond
	w := b.start(o, h)
	b.allHandled(append(fresh, claimed), h)
	_ = w.stop()
	for id, before := range tried {
		if before[0] != (id == claimed) || len(before) < 2 || slices.Contains(before[1:], false) {
			t.Errorf("%s was tried before: %v", id, before)
		}
	}
}
