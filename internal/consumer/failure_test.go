package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// blocking returns a handler that leaves entries with a field "blocked" pending,
// as those that wait for Postgres, until healed is set.
func blocking(healed *atomic.Bool) *recorder {
	return &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		verdicts, blocked := all(batch, Done), false
		for i, e := range batch {
			if e.Fields[2] == "blocked" && !healed.Load() {
				verdicts[i].Status, blocked = Pending, true
			}
		}
		if blocked {
			return verdicts, errOutage
		}
		return verdicts, nil
	}}
}

func TestOutageDoesNotCountAsFailure(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	var healed atomic.Bool
	h := blocking(&healed)
	o := b.options()
	o.MaxDeliveries = 2
	w := b.start(o, h)
	blocked := b.add(5, "blocked", "")
	others := b.add(200, "free", "")
	b.eventually(func() error {
		n, err := b.pending()
		return errors.Join(err, want("pending", n, int64(len(blocked))), want("the last handled", h.times(others[199]), 1))
	})
	for _, id := range others {
		if n := h.times(id); n != 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
	b.eventually(func() error {
		if n := h.times(blocked[0]); n <= 2*o.MaxDeliveries {
			return fmt.Errorf("handled %d times", n)
		}
		return nil
	})
	healed.Store(true)
	b.allHandled(blocked, h)
	if letters := b.deadLetters(); len(letters) != 0 {
		t.Errorf("dead letters are %+v", letters)
	}
	b.eventually(func() error { return want("waiting", w.metric("wardstream_entries_waiting"), 0.0) })
}

// TestRecoveredWorkerHasNoBacklog: a worker that has found what was pending for it says so,
// though nothing new comes.
func TestRecoveredWorkerHasNoBacklog(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.add(10)
	ids := b.deliver("w-0", 10)
	h := &recorder{}
	w := b.start(b.options(), h)
	b.allHandled(ids, h)
	b.eventually(func() error { return want("waiting", w.metric("wardstream_entries_waiting"), 0.0) })
}

// TestRetryQueueIsBounded lets many times more entries wait than fit in memory:
// the others are handled still, and in the end all are.
func TestRetryQueueIsBounded(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	var healed atomic.Bool
	h := blocking(&healed)
	o := b.options()
	o.BatchSize = 4
	w := b.start(o, h)
	blocked := b.add(100, "blocked", "")
	others := b.add(50, "free", "")
	b.eventually(func() error {
		if held := w.loops[0].inFlight.waiting(); held > retryBatches*o.BatchSize {
			t.Fatalf("%d entries in memory", held)
		}
		for _, id := range others {
			if h.times(id) == 0 {
				return fmt.Errorf("%s was not handled", id)
			}
		}
		return nil
	})
	healed.Store(true)
	b.allHandled(append(blocked, others...), h)
	if letters := b.deadLetters(); len(letters) != 0 {
		t.Errorf("dead letters are %+v", letters)
	}
}

func TestReadingPausesWhenRetryQueueIsFull(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	var healed atomic.Bool
	h := blocking(&healed)
	o := b.options()
	o.BatchSize = 2
	limit := backlogBatches * o.BatchSize
	b.start(o, h)
	ids := b.add(4*limit, "blocked", "")
	check := func() error {
		n, err := b.pending()
		if n > int64(limit+o.BatchSize) {
			t.Fatalf("%d are pending", n)
		}
		return errors.Join(err, want("enough pending", n >= int64(limit), true))
	}
	b.eventually(check)
	// It stays so while the first are tried again and again.
	b.eventually(func() error {
		if err := check(); err != nil {
			return err
		}
		return want("handled often", h.times(ids[0]) > 5, true)
	})
	healed.Store(true)
	b.allHandled(ids, h)
}

func TestRepeatedFailureBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		verdicts := all(batch, Done)
		for i, e := range batch {
			if e.Fields[2] == "fails" {
				verdicts[i].Status = Pending
			}
		}
		return verdicts, nil
	}}
	o := b.options()
	o.MaxDeliveries = 3
	b.start(o, h)
	bad := b.add(2, "fails", "")
	good := b.add(10, "works", "")
	b.allHandled(append(bad, good...), h)
	letters := b.deadLetters()
	if len(letters) != 2 {
		t.Fatalf("dead letters are %+v", letters)
	}
	for _, letter := range letters {
		if !slices.Contains(bad, letter.EntryID) || letter.Reason != "failed: left pending 3 times" || letter.Deliveries != 3 || h.times(letter.EntryID) != 3 {
			t.Errorf("dead letter is %+v after %d times", letter, h.times(letter.EntryID))
		}
	}
}

func TestWrongNumberOfVerdictsLeavesEntriesPending(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	h := &recorder{}
	h.handle = func(_ context.Context, batch []Entry) ([]Verdict, error) {
		if h.times(batch[0].ID) < 3 {
			return all(batch, Done)[1:], nil
		}
		return all(batch, Done), nil
	}
	w := b.start(b.options(), h)
	ids := b.add(1)
	b.allHandled(ids, h)
	if got := w.metric("wardstream_batch_errors_total"); got != 2 {
		t.Errorf("counted %v errors", got)
	}
}

// A refusal is a hook that makes commands fail as if the network had, before they
// are sent or after.
type refusal struct {
	name  string
	after bool
	left  atomic.Int64
}

func (r *refusal) DialHook(next redis.DialHook) redis.DialHook { return next }
func (r *refusal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r *refusal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.FullName() != r.name || r.left.Add(-1) < 0 {
			return next(ctx, cmd)
		}
		if r.after {
			_ = next(ctx, cmd)
		}
		cmd.SetErr(errOutage)
		return errOutage
	}
}

// TestEntryIsHandledAgainIfItsAckFails: the ack alone is not repeated, since the server that takes
// it then may be a promoted replica without the effects.
func TestEntryIsHandledAgainIfItsAckFails(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"request lost": false, "reply lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			o := b.options()
			refused := &refusal{name: "xack", after: after}
			const refusals = 3
			refused.left.Store(refusals)
			o.Clients.Ops.AddHook(refused)
			ids := b.add(10)
			h := &recorder{}
			b.start(o, h)
			b.allHandled(ids, h)
			b.eventually(func() error { return want("refusals left", refused.left.Load() <= 0, true) })
			for _, id := range ids {
				b.eventually(func() error { return want("times "+id+" was handled", h.times(id), refusals+1) })
			}
		})
	}
}

func TestOutOfMemoryStopsReading(t *testing.T) {
	t.Parallel()
	b, _ := privateFixture(t)
	ctx := context.Background()
	var tried atomic.Int64
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		tried.Add(1)
		if err := b.client.Set(ctx, b.prefix+":effect", "x", 0).Err(); err != nil {
			return all(batch, Pending), fmt.Errorf("write effect: %w", err)
		}
		return all(batch, Done), nil
	}}
	o := b.options()
	o.BatchSize = 8
	ids := b.add(200)
	b.deliver("another", 1) // makes the group, which takes memory too
	if err := b.client.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	b.start(o, h)
	b.eventually(func() error {
		n, err := b.pending()
		if n > int64(o.BatchSize)+1 {
			t.Fatalf("%d are pending", n)
		}
		return errors.Join(err, want("tried often", tried.Load() > 5, true))
	})
	if err := b.client.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	b.eventually(func() error {
		n, err := b.pending()
		return errors.Join(err, want("pending", n, int64(1)), want("handled", len(h.ids()), len(ids)-1))
	})
}

func TestBackoffGrowsToItsCap(t *testing.T) {
	t.Parallel()
	for attempt := range 100 {
		d := backoff(attempt)
		full := min(backoffFirst<<min(max(attempt-1, 0), 10), backoffCap)
		if d < full/2 || d > full {
			t.Errorf("backoff(%d) is %s, want %s to %s", attempt, d, full/2, full)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	pause(ctx, time.Hour) // returns
}
