package events

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wardstream/wardstream/internal/wire"
)

const (
	// maxBatch is how many events a sink is given at once, if they came in
	// batches smaller than that.
	maxBatch = 512
	// maxLate is how often in a row a sink may be late before Emit stops
	// waiting for it.
	maxLate = 3
	// maxBackoff bounds the pause between deliveries, in multiples of the first.
	maxBackoff = 50
	// logEvery is the least time between two lines about one sink's trouble.
	logEvery = 30 * time.Second
)

// A queue holds the events that wait for one sink and delivers them in order.
type queue struct {
	name    string
	sink    Sink
	opts    Options
	log     *slog.Logger
	emitted prometheus.Counter
	failed  prometheus.Counter
	dropped prometheus.Counter
	queued  prometheus.Gauge

	wake    chan struct{} // holds one: something to deliver
	closing chan struct{} // closed: no more events come

	mu      sync.Mutex
	waiting []*delivery
	size    int  // events in waiting
	lates   int  // in a row
	tripped bool // not waited for
	closed  bool
	told    bool      // the trouble at hand was logged
	logged  time.Time // when trouble was logged last
}

// A delivery is the events of one Emit. done is closed once there is nothing
// more to wait for: they are delivered, or the sink failed.
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
	return &queue{
		name: s.Name, sink: s.Sink, opts: o, log: o.Logger.With("sink", s.Name),
		emitted: m.emitted.WithLabelValues(s.Name), failed: m.failures.WithLabelValues(s.Name),
		dropped: m.dropped.WithLabelValues(s.Name), queued: m.queued.WithLabelValues(s.Name),
		wake: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// put queues as many of the events as there is room for and counts the others
// as dropped. It returns what to wait for, or nil where the sink is not waited for.
func (q *queue) put(events []wire.Enforcement) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	room := q.opts.Queue - q.size
	if q.closed {
		room = 0
	}
	if lost := len(events) - room; lost > 0 {
		events = events[:room]
		q.dropped.Add(float64(lost))
		if q.tell() {
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
	if q.tripped {
		return nil
	}
	return d.done
}

// resize changes the number of events queued. q.mu is held.
func (q *queue) resize(by int) {
	q.size += by
	q.queued.Set(float64(q.size))
}

// onTime notes that the sink was waited for and not in vain.
func (q *queue) onTime() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lates = 0
}

// late notes that the sink was waited for in vain.
func (q *queue) late() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lates++; q.lates < maxLate || q.tripped {
		return
	}
	q.tripped = true
	if q.tell() {
		q.log.Warn("sink is slow", "queued", q.size)
	}
}

// close takes no more events; run returns once those queued are delivered.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.closing)
	}
}

// abandon counts what was never delivered as dropped.
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

// next returns the deliveries to make together, at the head of the queue.
func (q *queue) next() []*delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := 0
	for i, d := range q.waiting {
		if events += len(d.events); i > 0 && events > maxBatch {
			return q.waiting[:i:i]
		}
	}
	return q.waiting[:len(q.waiting):len(q.waiting)]
}

// deliver gives the sink the events at the head of the queue, again and again
// until it takes them or ctx ends.
func (q *queue) deliver(ctx context.Context, head []*delivery) {
	events := head[0].events
	if len(head) > 1 {
		events = nil
		for _, d := range head {
			events = append(events, d.events...)
		}
	}
	for failures := 0; ; failures++ {
		err := q.attempt(ctx, events)
		if err == nil {
			q.delivered(head, len(events), failures)
			return
		}
		if ctx.Err() != nil {
			return
		}
		q.failed.Inc()
		q.broken(err, failures+1)
		q.pause(ctx, failures)
	}
}

// attempt is one delivery. A panic of the sink is an error like another.
func (q *queue) attempt(ctx context.Context, events []wire.Enforcement) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sink panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, q.opts.Attempt)
	defer cancel()
	return q.sink.Emit(ctx, events)
}

// delivered takes the head off the queue. A sink that has caught up is waited
// for again.
func (q *queue) delivered(head []*delivery, events, failures int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size == 0 { // abandoned meanwhile
		return
	}
	q.emitted.Add(float64(events))
	q.waiting = q.waiting[len(head):]
	q.resize(-events)
	for _, d := range head {
		d.release()
	}
	if len(q.waiting) == 0 {
		q.waiting = nil // lets go of the array
		q.tripped, q.lates = false, 0
	}
	if q.told && failures > 0 {
		q.told = false
		q.log.Info("sink recovered", "failures", failures, "queued", q.size)
	}
}

// broken notes a failed delivery: the sink is not waited for any more until it
// has caught up.
func (q *queue) broken(err error, failures int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tripped = true
	for _, d := range q.waiting {
		d.release()
	}
	if q.tell() {
		q.log.Warn("sink failed", "error", err, "failures", failures, "queued", q.size)
	}
}

// tell reports whether trouble may be logged now, which it may not be at every
// turn. q.mu is held.
func (q *queue) tell() bool {
	now := q.opts.Now()
	if !q.logged.IsZero() && now.Sub(q.logged) < logEvery {
		return false
	}
	q.logged, q.told = now, true
	return true
}

// pause waits before the next delivery, longer after each failure and with
// jitter. Closing cuts the first pause short, so that a shutdown has its chance.
func (q *queue) pause(ctx context.Context, failures int) {
	d := q.opts.Backoff * time.Duration(min(1<<min(failures, 10), maxBackoff))
	closing := q.closing
	select {
	case <-closing:
		d, closing = q.opts.Backoff, nil
	default:
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-closing:
	case <-ctx.Done():
	}
}
