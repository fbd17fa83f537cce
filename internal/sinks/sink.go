// Package sinks delivers enforcement events: to standard output as JSON lines, to a Redis stream,
// to webhooks and as OpenTelemetry logs. A [Fanout] delivers to several sinks, none of which can
// delay another or the worker.
//
// Delivery is at least once: failed deliveries are retried, and receivers drop duplicates by
// enforcement.id.
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

// A Sink delivers enforcement events. An error means that some may not have arrived; the same
// events can be emitted again. Sinks neither keep nor modify events, and are safe for concurrent
// use.
type Sink interface {
	Emit(ctx context.Context, events []wire.Enforcement) error
}

// JSONL is a sink that writes each event as one line of JSON, and a batch in one Write.
type JSONL struct {
	origin wire.Origin
	mu     sync.Mutex
	w      io.Writer
}

// NewJSONL returns a sink that writes to w, which it never closes.
func NewJSONL(w io.Writer, origin wire.Origin) *JSONL { return &JSONL{w: w, origin: origin} }

// Emit writes the events. ctx does not interrupt a Write in progress.
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

// StreamOptions configure the Redis sink.
type StreamOptions struct {
	Name   string // the stream's key, such as "audit:enforcement"
	MaxLen int64  // entries kept, approximately
	Origin wire.Origin
}

// Stream is a sink that adds events to a Redis stream. An entry has the fields event_type,
// enforcement.id (if the event has one) and event, the whole event as JSON.
type Stream struct {
	client pipeliner
	opts   StreamOptions
}

// NewStream returns a sink over client, which it never closes. The client must not retry and must
// honour context deadlines (ContextTimeoutEnabled).
func NewStream(client pipeliner, o StreamOptions) *Stream { return &Stream{client: client, opts: o} }

// Emit adds the events in one round trip.
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
