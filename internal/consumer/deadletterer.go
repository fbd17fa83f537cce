package consumer

import (
	"context"

	"github.com/wardstream/wardstream/internal/deadletter"
)

// A deadLetterer ends the life of entries that cannot be handled.
type deadLetterer struct {
	*member
	writer *deadletter.Writer
}

func newDeadLetterer(o *Options, m *member) *deadLetterer {
	return &deadLetterer{member: m, writer: &deadletter.Writer{
		Client: m.clients.Ops, Stream: m.stream, Group: m.group, MaxLen: o.DeadMaxLen, MaxSize: o.replyBytes, Timeout: m.timeout,
	}}
}

// write makes dead letters of items. Those that it settles are dead letters, or no longer pending.
func (d *deadLetterer) write(ctx context.Context, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	letters := make([]deadletter.Letter, len(items))
	for i, it := range items {
		letters[i] = deadletter.Letter{EntryID: it.ID, Reason: it.verdict.Reason, Deliveries: it.Deliveries, At: d.now(), Fields: it.Fields}
	}
	outcomes, err := d.writer.Write(ctx, letters)
	for i := range min(len(outcomes), len(items)) {
		it, outcome := items[i], outcomes[i]
		it.settled = outcome != deadletter.Unwritten
		if outcome == deadletter.Written {
			d.metrics.deadLetter(it.verdict.Reason)
			d.log.Warn("entry became a dead letter", "id", it.ID, "reason", it.verdict.Reason, "deliveries", it.Deliveries)
		}
	}
	return err
}
