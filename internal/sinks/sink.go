// Package sinks passes enforcement events on: to standard output as JSON
// lines, to a Redis stream, and by a [Fanout] to several sinks of which none
// can hold up another or the worker.
//
// Delivery is at least once: a sink that fails is given the same events again,
// and receivers drop repeats by enforcement.id.
package sinks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/wire"
)

// A Sink takes enforcement events. An error means that some of them may not
// have arrived; giving them again is harmless. Sinks neither keep nor change
// events, and are safe for concurrent use.
type Sink interface {
	Emit(ctx context.Context, events []wire.Enforcement) error
}

// JSONL is a sink that writes one line of JSON for each event, and a batch in
// one Write.
type JSONL struct {
	origin wire.Origin
	mu     sync.Mutex
	w      io.Writer
}

// NewJSONL returns a sink that writes to w, which it never closes.
func NewJSONL(w io.Writer, origin wire.Origin) *JSONL { return &JSONL{w: w, origin: origin} }

// Emit writes the events. A Write that has begun is not interrupted by ctx.
func (s *JSONL) Emit(ctx context.Context, events []wire.Enforcement) error {
	var lines bytes.Buffer
	for i := range events {
		line, err := wire.EncodeEnforcement(events[i], s.origin)
		if err != nil {
			return err
		}
		lines.Write(line)
		lines.WriteByte('\n')
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	if _, err := s.w.Write(lines.Bytes()); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}

// A pipeliner is what a go-redis client of any kind offers.
type pipeliner interface {
	Pipeline() redis.Pipeliner
}

// StreamOptions say where the Redis sink writes.
type StreamOptions struct {
	Name   string // the stream's key, such as "audit:enforcement"
	MaxLen int64  // entries kept, approximately
	Origin wire.Origin
}

// Stream is a sink that adds events to a Redis stream. Entries have the fields
// event_type, enforcement.id (where the event has one) and event, the whole
// event as JSON: what any reader of the events stream understands.
type Stream struct {
	client pipeliner
	opts   StreamOptions
}

// NewStream returns a sink over client, which it never closes. The client's
// own retries must be off, and it must heed deadlines (ContextTimeoutEnabled).
func NewStream(client pipeliner, o StreamOptions) *Stream { return &Stream{client: client, opts: o} }

// Emit adds the events, in one round trip.
func (s *Stream) Emit(ctx context.Context, events []wire.Enforcement) error {
	pipe := s.client.Pipeline()
	for i := range events {
		line, err := wire.EncodeEnforcement(events[i], s.opts.Origin)
		if err != nil {
			return err
		}
		values := []any{"event_type", events[i].Type}
		if events[i].ID != "" {
			values = append(values, "enforcement.id", events[i].ID)
		}
		pipe.XAdd(ctx, &redis.XAddArgs{
			Stream: s.opts.Name, MaxLen: s.opts.MaxLen, Approx: true, Values: append(values, "event", line),
		})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("add events to stream: %w", err)
	}
	return nil
}
