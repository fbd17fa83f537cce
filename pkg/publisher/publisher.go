// Package publisher publishes audit events to the Redis stream that detectors read, without
// delaying the requests that the events describe.
//
// [Publisher.Publish] puts an event into a bounded buffer and never waits for Redis. A background
// goroutine sends the buffered events in batches. During an outage of Redis events stay in the
// buffer. An event is dropped and counted if the buffer is full or it has waited longer than
// [WithMaxAge]: see [Publisher.Stats] and [WithOnDrop].
//
// Each event has an event_id, so a batch that is sent again after a lost reply counts once.
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

// Reasons for dropping events, for [WithOnDrop].
var (
	ErrFull    = errors.New("the buffer is full")
	ErrExpired = errors.New("the event waited too long for Redis")
	ErrInvalid = errors.New("the event has no type, is too large or can't be encoded as JSON")
	ErrClosed  = errors.New("the publisher is closed")
)

const (
	// batchSize is the maximum number of events in one pipeline.
	batchSize = 512
	// firstPause is the pause after the first failed attempt. It doubles up to maxPause, with
	// jitter.
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// A Client is a go-redis client for a single server, Sentinel or a Cluster. It should not retry
// (MaxRetries -1) and should honour context deadlines (ContextTimeoutEnabled).
type Client interface {
	Pipeline() redis.Pipeliner
}

// A Publisher publishes events. Make one with [New] and call [Publisher.Close] at the end. It is
// safe for concurrent use.
type Publisher struct {
	client Client
	opts   options
	ids    *ids
	queue  queue

	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	published, dropped, retries atomic.Uint64
}

// New returns a Publisher that sends to client. Close the client after the Publisher.
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

// Publish queues an event. It returns false if the event was dropped, and never blocks. The event's
// attributes must not be modified afterwards.
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

// Stats are totals since the Publisher was made.
type Stats struct {
	Published uint64 // events that Redis has acknowledged
	Dropped   uint64 // events lost for any reason
	Retries   uint64 // failed attempts to send a batch
	Queued    int    // events in the buffer, including those being sent
}

// Stats returns the totals. They are read one after the other, so they may be inconsistent by a few
// events.
func (p *Publisher) Stats() Stats {
	return Stats{Published: p.published.Load(), Dropped: p.dropped.Load(), Retries: p.retries.Load(), Queued: p.queue.len()}
}

// Close stops accepting events, sends those in the buffer and returns when that is done or ctx
// ends. Its error says how many events were lost. It may be called more than once.
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

// run sends events until the queue is closed and empty.
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

// An entry is an encoded event.
type entry struct {
	stream string
	queued time.Time
	json   []byte
}

// encode encodes events and drops those that are invalid.
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

// deliver sends entries and retries those that Redis has not acknowledged, until none is left, they
// are too old or ctx ends.
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

// young drops entries that are too old. Windows count by the time of the stream entry, so events
// sent long after they happened would look like a burst.
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

// send adds entries to their streams in one round trip. It returns those that Redis did not
// acknowledge.
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
