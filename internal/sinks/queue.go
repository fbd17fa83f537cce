package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wardstream/wardstream/internal/wire"
)

const (
	// maxBatch is the maximum number of events per delivery, unless the sink has a smaller one.
	maxBatch = 512
	// maxLate is how many consecutive times a sink may be late before Emit stops waiting for it.
	maxLate = 3
	// maxBackoff is the maximum pause between deliveries, in multiples of the first.
	maxBackoff = 50
	// logEvery is the minimum time between two log lines about failures of one sink.
	logEvery = 30 * time.Second
)

// A queue holds the events for one sink and delivers them in order.
type queue struct {
	Named
	opts    Options
	log     *slog.Logger
	emitted prometheus.Counter
	failed  prometheus.Counter
	dropped prometheus.Counter
	queued  prometheus.Gauge

	wake    chan struct{} // holds one: something to deliver
	closing chan struct{} // closed: no more events come

	mu       sync.Mutex
	waiting  []*delivery
	size     int  // events in waiting
	lates    int  // in a row
	tripped  bool // not waited for
	closed   bool
	reported bool      // the current failure was logged
	logged   time.Time // when trouble was logged last
}

// A delivery tracks the events of one Emit. done is closed when they are delivered or the sink has
// failed.
type delivery struct {
	events   []wire.Enforcement
	done     chan struct{}
	released bool // done is closed
}

func (d *delivery) release() {
	if !d.released {
		d.released = true
		close(d.done)
	}
}

func newQueue(s Named, o Options, m *metrics) *queue {
	if s.Batch <= 0 {
		s.Batch = maxBatch
	}
	if s.Attempt <= 0 {
		s.Attempt = o.Attempt
	}
	return &queue{
		Named: s, opts: o, log: o.Logger.With("sink", s.Name),
		emitted: m.emitted.WithLabelValues(s.Name), failed: m.failures.WithLabelValues(s.Name),
		dropped: m.dropped.WithLabelValues(s.Name), queued: m.queued.WithLabelValues(s.Name),
		wake: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// put queues the events that the sink accepts and counts those that do not fit as dropped. It
// returns what Emit should wait for, or nil.
func (q *queue) put(events []wire.Enforcement) <-chan struct{} {
	events = q.wanted(events)
	q.mu.Lock()
	defer q.mu.Unlock()
	room := q.opts.Queue - q.size
	if q.closed {
		room = 0
	}
	if lost := len(events) - room; lost > 0 {
		events = events[:room]
		q.dropped.Add(float64(lost))
		if q.mayLog() {
			q.log.Warn("events dropped", "events", lost, "queued", q.size)
		}
	}
	if len(events) == 0 {
		return nil
	}
	d := &delivery{events: events, done: make(chan struct{})}
	q.waiting = append(q.waiting, d)
	q.resize(len(events))
	select {
	case q.wake <- struct{}{}:
	default:
	}
	if q.tripped || q.Detached {
		return nil
	}
	return d.done
}

// wanted returns the events that the sink accepts.
func (n Named) wanted(events []wire.Enforcement) []wire.Enforcement {
	if n.Accepts == nil {
		return events
	}
	var out []wire.Enforcement
	for i := range events {
		if n.Accepts(events[i].Type) {
			out = append(out, events[i])
		}
	}
	return out
}

// resize changes the number of events queued. q.mu is held.
func (q *queue) resize(by int) {
	q.size += by
	q.queued.Set(float64(q.size))
}

// onTime records that the sink delivered within the budget.
func (q *queue) onTime() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lates = 0
}

// late records that the sink did not deliver within the budget.
func (q *queue) late() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lates++; q.lates < maxLate || q.tripped {
		return
	}
	q.tripped = true
	if q.mayLog() {
		q.log.Warn("sink is slow", "queued", q.size)
	}
}

// close stops accepting events; run returns when the queued ones are delivered.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.closing)
	}
}

// abandon counts the remaining events as dropped.
func (q *queue) abandon() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.size
	q.dropped.Add(float64(lost))
	q.waiting = nil
	q.resize(-lost)
	return lost
}

// run delivers until the queue is closed and empty, or ctx ends.
func (q *queue) run(ctx context.Context) {
	for ctx.Err() == nil {
		next := q.next()
		if len(next) > 0 {
			q.deliver(ctx, next)
			continue
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		case <-q.closing:
			if q.empty() {
				return
			}
		}
	}
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) == 0
}

// next returns the events of the next delivery, from the head of the queue.
func (q *queue) next() []wire.Enforcement {
	q.mu.Lock()
	defer q.mu.Unlock()
	var events []wire.Enforcement
	for _, d := range q.waiting {
		events = append(events, d.events[:min(len(d.events), q.Batch-len(events))]...)
		if len(events) == q.Batch {
			break
		}
	}
	return events
}

// deliver delivers the events at the head of the queue, with retries until it succeeds, the events
// are dropped or ctx ends.
func (q *queue) deliver(ctx context.Context, events []wire.Enforcement) {
	for failures := 0; ; {
		err := q.attempt(ctx, events)
		if err == nil {
			q.delivered(len(events), failures)
			return
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		q.failed.Inc()
		var f Failure
		errors.As(err, &f)
		if f.Final || failures == q.Deliveries {
			q.giveUp(len(events), err, failures)
			return
		}
		q.broken(err, failures)
		q.pause(ctx, failures-1, f.After)
	}
}

// attempt makes one delivery. A panic of the sink becomes an error.
func (q *queue) attempt(ctx context.Context, events []wire.Enforcement) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sink panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, q.Attempt)
	defer cancel()
	return q.Sink.Emit(ctx, events)
}

// delivered removes delivered events from the queue.
func (q *queue) delivered(events, failures int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.take(events) {
		return
	}
	q.emitted.Add(float64(events))
	if q.reported && failures > 0 {
		q.reported = false
		q.log.Info("sink recovered", "failures", failures, "queued", q.size)
	}
}

// giveUp removes events from the queue that cannot be delivered.
func (q *queue) giveUp(events int, err error, failures int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.take(events) {
		return
	}
	q.dropped.Add(float64(events))
	if q.mayLog() {
		q.log.Warn("events dropped", "error", err, "events", events, "failures", failures, "queued", q.size)
	}
}

// take removes n events from the queue; false if they were abandoned meanwhile. Emit waits again
// for a sink that has caught up. The caller holds q.mu.
func (q *queue) take(n int) bool {
	if q.size == 0 {
		return false
	}
	q.resize(-n)
	for n > 0 {
		head := q.waiting[0]
		taken := min(n, len(head.events))
		head.events, n = head.events[taken:], n-taken
		if len(head.events) == 0 {
			head.release()
			q.waiting = q.waiting[1:]
		}
	}
	if len(q.waiting) == 0 {
		q.waiting = nil // frees the array
		q.tripped, q.lates = false, 0
	}
	return true
}

// broken records a failed delivery: Emit does not wait for the sink until it has caught up.
func (q *queue) broken(err error, failures int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tripped = true
	for _, d := range q.waiting {
		d.release()
	}
	if q.mayLog() {
		q.log.Warn("sink failed", "error", err, "failures", failures, "queued", q.size)
	}
}

// mayLog reports whether a failure may be logged now: at most once per logEvery. The caller holds
// q.mu.
func (q *queue) mayLog() bool {
	now := q.opts.Now()
	if !q.logged.IsZero() && now.Sub(q.logged) < logEvery {
		return false
	}
	q.logged, q.reported = now, true
	return true
}

// pause waits before the next delivery, longer after each failure and with jitter, but at least as
// long as the sink asks for. Closing shortens the first pause, so that a shutdown makes one more
// attempt, unless the sink asked for the pause.
func (q *queue) pause(ctx context.Context, failures int, least time.Duration) {
	d := q.opts.Backoff * time.Duration(min(1<<min(failures, 10), maxBackoff))
	closing := q.closing
	if least > 0 {
		closing = nil
	}
	select {
	case <-closing:
		d, closing = q.opts.Backoff, nil
	default:
	}
	timer := time.NewTimer(max(least, d/2) + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-closing:
	case <-ctx.Done():
	}
}
