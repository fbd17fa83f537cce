package consumer

import (
	"context"
	"log/slog"
	"time"
)

// A member is one consumer of one stream's group: what a role needs to reach Redis as that
// consumer, and to report what it did. All roles of a read loop share it; it never changes.
type member struct {
	clients Clients
	stream  string
	group   string
	name    string        // of the consumer
	timeout time.Duration // of one command
	now     func() time.Time
	metrics *streamMetrics
	log     *slog.Logger
}

func newMember(o *Options, stream, name string, m *streamMetrics) *member {
	return &member{
		clients: o.Clients, stream: stream, group: o.Group, name: name, timeout: o.Timeout, now: o.Now,
		metrics: m, log: o.Logger.With("stream", stream, "consumer", name),
	}
}

// bounded returns ctx with the deadline of one command.
func (m *member) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, m.timeout)
}

// do sends one command with its own deadline.
func (m *member) do(ctx context.Context, args ...any) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.clients.Ops.Do(ctx, args...).Err()
}
