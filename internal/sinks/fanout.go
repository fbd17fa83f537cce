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

// Options say how a Fanout treats its sinks. Zero durations and sizes mean the
// defaults; Registerer, Logger and Now must be given.
type Options struct {
	// Queue is how many events wait for one sink before more are dropped; 4,096.
	Queue int
	// Budget is how long Emit waits for the sinks, all together; 250 ms.
	Budget time.Duration
	// Attempt is the deadline of one delivery to a sink; 5 s.
	Attempt time.Duration
	// Backoff is the pause after a failed delivery, doubled at each further one
	// up to 50 times itself; 100 ms.
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

// Named is a sink with the name it has in metrics and logs, and how it is
// treated. What is zero is as Options and this package have it.
type Named struct {
	Name string
	Sink Sink
	// Accepts reports whether of events the sink is given; nil: all.
	Accepts func(typ string) bool
	// Detached says that Emit never waits for the sink, which is far away.
	Detached bool
	// Batch is the most events the sink is given at once; 512.
	Batch int
	// Attempt is the deadline of one delivery.
	Attempt time.Duration
	// Deliveries is how often the same events may fail before they are dropped; 0: for ever.
	Deliveries int
}

// A Failure is the error of a sink that knows more of it.
type Failure struct {
	// Final says that the same events would fail again: they are dropped.
	Final bool
	// After is how long to wait at least before they are given again.
	After time.Duration
	Err   error
}

func (f Failure) Error() string { return f.Err.Error() }

func (f Failure) Unwrap() error { return f.Err }

// A Fanout gives every event to every sink that wants it. Each sink has a queue and a
// goroutine of its own, and one that fails gets the same events again until it
// takes them or they are given up: a slow or broken sink costs its own events at worst.
//
// Emit waits a little, so that events are usually delivered before what led to them
// is acked. A sink that fails or is late again and again is not waited for
// until it has caught up.
type Fanout struct {
	budget time.Duration
	queues []*queue
	joined sync.WaitGroup
	cancel context.CancelFunc
}

// NewFanout starts a Fanout; Close stops it. It fails where the registerer
// refuses its metrics.
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

// Emit queues events for every sink and waits for the sinks within the budget.
// What is not delivered by then, or when ctx ends, stays queued. It always
// returns nil: a sink's trouble is logged and counted. Events must not be changed afterwards.
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
			timer.Reset(0) // nor is there time left for those that follow
			q.late()
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// Close takes no more events and waits until those queued are delivered or ctx
// ends, which stops deliveries under way. The error names the sinks whose
// events were lost.
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
