package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wardstream/wardstream/internal/wire"
)

// Options configure a Fanout. Zero durations and sizes mean the defaults; Registerer, Logger and
// Now are required.
type Options struct {
	// Queue is the capacity of each sink's queue; further events are dropped; 4,096.
	Queue int
	// Budget is how long Emit waits for all sinks together; 250 ms.
	Budget time.Duration
	// Attempt is the timeout of one delivery to a sink; 5 s.
	Attempt time.Duration
	// Backoff is the pause after the first failed delivery. It doubles with each failure, up to 50
	// times its value; 100 ms.
	Backoff time.Duration

	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Now        func() time.Time // spaces log lines
}

func (o Options) orDefaults() Options {
	if o.Queue <= 0 {
		o.Queue = 4096
	}
	for _, f := range []struct {
		have *time.Duration
		def  time.Duration
	}{{&o.Budget, 250 * time.Millisecond}, {&o.Attempt, 5 * time.Second}, {&o.Backoff, 100 * time.Millisecond}} {
		if *f.have <= 0 {
			*f.have = f.def
		}
	}
	return o
}

// Named is a sink with its name in metrics and logs, and its settings. Zero values mean those of
// Options.
type Named struct {
	Name string
	Sink Sink
	// Accepts reports whether the sink is given events of a type; nil means all.
	Accepts func(typ string) bool
	// Detached means that Emit never waits for the sink, for sinks with high latency.
	Detached bool
	// Batch is the maximum number of events per delivery; 512.
	Batch int
	// Attempt is the timeout of one delivery.
	Attempt time.Duration
	// Deliveries is how many deliveries of the same events may fail before they are dropped; 0: no
	// limit.
	Deliveries int
}

// A Failure is an error of a sink that says how to retry.
type Failure struct {
	// Final means that a retry would fail too; the events are dropped.
	Final bool
	// After is the minimum time before a retry.
	After time.Duration
	Err   error
}

func (f Failure) Error() string { return f.Err.Error() }

func (f Failure) Unwrap() error { return f.Err }

// A Fanout delivers every event to every sink that accepts it. Each sink has a queue and a
// goroutine of its own, and failed deliveries are retried, so a slow or failing sink loses at worst
// its own events.
//
// Emit waits for the sinks within the budget, so that events are usually delivered before the
// stream entries that led to them are acknowledged. It does not wait for a sink that failed or was
// repeatedly late until that sink has caught up.
type Fanout struct {
	budget time.Duration
	queues []*queue
	joined sync.WaitGroup
	cancel context.CancelFunc
}

// NewFanout starts a Fanout; Close stops it. Its error means that the metrics could not be
// registered.
func NewFanout(o Options, sinks ...Named) (*Fanout, error) {
	o = o.orDefaults()
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Fanout{budget: o.Budget, cancel: cancel}
	for _, s := range sinks {
		q := newQueue(s, o, m)
		f.queues = append(f.queues, q)
		f.joined.Go(func() { q.run(ctx) })
	}
	return f, nil
}

// Emit queues events for every sink and waits for delivery within the budget. Events not delivered
// by then, or when ctx ends, remain queued. A slow or failing sink never returns an error here and
// never delays other sinks; failures are logged and counted. Events must not be modified
// afterwards.
func (f *Fanout) Emit(ctx context.Context, events []wire.Enforcement) error {
	if len(events) == 0 {
		return nil
	}
	waits := make([]<-chan struct{}, len(f.queues))
	for i, q := range f.queues {
		waits[i] = q.put(events)
	}
	timer := time.NewTimer(f.budget)
	defer timer.Stop()
	for i, q := range f.queues {
		if waits[i] == nil {
			continue
		}
		select {
		case <-waits[i]:
			q.onTime()
			continue
		default:
		}
		select {
		case <-waits[i]:
			q.onTime()
		case <-timer.C:
			timer.Reset(0) // the budget is used up for the remaining sinks too
			q.late()
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// Close stops accepting events and waits until the queued ones are delivered or ctx ends, which
// aborts deliveries in progress. Its error names the sinks that lost events.
func (f *Fanout) Close(ctx context.Context) error {
	for _, q := range f.queues {
		q.close()
	}
	joined := make(chan struct{})
	go func() {
		f.joined.Wait()
		close(joined)
	}()
	select {
	case <-joined:
	case <-ctx.Done():
	}
	f.cancel()
	var errs []error
	for _, q := range f.queues {
		if n := q.abandon(); n > 0 {
			errs = append(errs, fmt.Errorf("drain sink %s: %d events lost: %w", q.Name, n, context.Cause(ctx)))
		}
	}
	return errors.Join(errs...)
}
