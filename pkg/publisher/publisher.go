// Package publisher publishes audit events to the Redis stream that detectors read, off the path of the
// request that they are about.
//
// [Publisher.Publish] puts an event into a bounded buffer and returns; it never waits for Redis. One goroutine sends what
// has gathered in pipelines. While Redis is away events wait in the buffer; those that find it full, or have waited
// longer than [WithMaxAge] allows, are dropped and counted: see [Publisher.Stats] and [WithOnDrop].
//
// Each event carries an event_id, so a batch whose answer was lost is sent again and still counts once.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Why events are dropped, for [WithOnDrop].
var (
	ErrFull    = errors.New("the buffer is full")
	ErrExpired = errors.New("the event waited too long for Redis")
	ErrInvalid = errors.New("the event can't be written as JSON, has no type or is too large")
	ErrClosed  = errors.New("the publisher is closed")
)

const (
	// batchSize is how many events go to Redis in one pipeline.
	batchSize = 512
	// firstPause is the pause after a failed attempt; it doubles up to maxPause, with jitter.
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// A Client is a go-redis client of any kind: one server, Sentinel or Cluster. Its own retries should be off
// (MaxRetries -1) and it should keep the deadlines of contexts (ContextTimeoutEnabled).
type Client interface {
	Pipeline() redis.Pipeliner
}

// A Publisher publishes events. Make one with [New] and close it; it is safe for concurrent use.
type Publisher struct {
	client Client
	opts   options
	ids    *ids
	queue  queue

	cancel context.CancelFunc
	done   chan struct{} // closed: the goroutine has ended

	published, dropped, retries atomic.Uint64
}

// New returns a Publisher that sends to client, which its owner closes after the Publisher.
func New(client Client, opts ...Option) *Publisher {
	o := defaults()
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{client: client, opts: o, ids: newIDs(), cancel: cancel, done: make(chan struct{})}
	p.queue.init(o.buffer)
	go p.run(ctx)
	return p
}

// Publish queues an event and reports whether there was room. It never blocks. The event's attributes
// must not be changed afterwards.
func (p *Publisher) Publish(e Event) bool {
	e.queued = p.opts.now()
	if e.Time.IsZero() {
		e.Time = e.queued
	}
	if err := p.queue.put(e); err != nil {
		p.drop(1, err)
		return false
	}
	return true
}

// Stats are counts since the Publisher was made.
type Stats struct {
	Published uint64 // events that Redis has
	Dropped   uint64 // events that were lost, for whatever reason
	Retries   uint64 // failed attempts to send a batch
	Queued    int    // events that wait, those being sent included
}

// Stats returns the counts. They are not one moment's: events may move between them meanwhile.
func (p *Publisher) Stats() Stats {
	return Stats{Published: p.published.Load(), Dropped: p.dropped.Load(), Retries: p.retries.Load(), Queued: p.queue.len()}
}

// Close takes no more events, sends those that wait and returns once that is done or ctx ends. What
// isn't sent by then is lost, and the error says how much. It may be called more than once.
func (p *Publisher) Close(ctx context.Context) error {
	p.queue.close()
	defer p.cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		if lost := p.queue.len(); lost > 0 {
			return fmt.Errorf("close publisher: %d events lost: %w", lost, context.Cause(ctx))
		}
	}
	return nil
}

// run sends what the queue has until that is closed and empty.
func (p *Publisher) run(ctx context.Context) {
	defer close(p.done)
	for {
		events := p.queue.take()
		if len(events) == 0 {
			return
		}
		for len(events) > 0 {
			n := min(len(events), batchSize)
			p.deliver(ctx, p.encode(events[:n]))
			p.queue.finished(n)
			events = events[n:]
		}
	}
}

// An entry is an event on its way.
type entry struct {
	stream string
	queued time.Time
	json   []byte
}

// encode makes entries of events, but of those that can't be written.
func (p *Publisher) encode(events []Event) []entry {
	entries := make([]entry, 0, len(events))
	for i := range events {
		if events[i].ID == "" {
			events[i].ID = p.ids.next()
		}
		raw, err := events[i].encode()
		if err != nil {
			p.drop(1, err)
			continue
		}
		entries = append(entries, entry{events[i].stream(p.opts.streams), events[i].queued, raw})
	}
	return entries
}

// deliver sends entries, and again those that Redis hasn't confirmed, until there are none, they are too
// old or ctx ends.
func (p *Publisher) deliver(ctx context.Context, entries []entry) {
	for failures := 0; ; failures++ {
		if ctx.Err() != nil {
			p.drop(len(entries), ErrClosed)
			return
		}
		entries = p.young(entries)
		if len(entries) == 0 {
			return
		}
		left, err := p.send(ctx, entries)
		p.published.Add(uint64(len(entries) - len(left))) //nolint:gosec // left is a part of entries
		if err == nil {
			return
		}
		p.retries.Add(1)
		if p.opts.onError != nil {
			p.opts.onError(err)
		}
		entries = left
		pause(ctx, failures)
	}
}

// young drops entries that are too old: late events would look like a burst, since their time is
// that of their entry.
func (p *Publisher) young(entries []entry) []entry {
	oldest := p.opts.now().Add(-p.opts.maxAge)
	kept := entries[:0]
	for _, e := range entries {
		if !e.queued.Before(oldest) {
			kept = append(kept, e)
		}
	}
	p.drop(len(entries)-len(kept), ErrExpired)
	return kept
}

// send adds entries to their streams in one round trip. It returns those that Redis didn't confirm.
func (p *Publisher) send(ctx context.Context, entries []entry) ([]entry, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.timeout)
	defer cancel()
	pipe := p.client.Pipeline()
	replies := make([]*redis.StringCmd, len(entries))
	for i, e := range entries {
		replies[i] = pipe.XAdd(ctx, &redis.XAddArgs{
			Stream: e.stream, MaxLen: p.opts.maxLen, Approx: p.opts.maxLen > 0, Values: []any{"event", e.json},
		})
	}
	_, err := pipe.Exec(ctx)
	if err == nil {
		return nil, nil
	}
	var left []entry
	for i, reply := range replies {
		if reply.Err() != nil || reply.Val() == "" {
			left = append(left, entries[i])
		}
	}
	return left, fmt.Errorf("add events to stream: %w", err)
}

func pause(ctx context.Context, failures int) {
	d := min(firstPause<<min(failures, 10), maxPause)
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p *Publisher) drop(n int, why error) {
	if n == 0 {
		return
	}
	p.dropped.Add(uint64(n)) //nolint:gosec // n counts events
	if p.opts.onDrop != nil {
		p.opts.onDrop(n, why)
	}
}
