package consumer

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// A redeliverer prepares entries that were delivered before for being handled again.
type redeliverer struct{ *member }

// prepare returns the entries that are in the stream still, with how often they were delivered.
// Those that have been trimmed since are acked and counted as lost.
func (r *redeliverer) prepare(ctx context.Context, entries []Entry) ([]Entry, error) {
	there := entries[:0:0]
	var trimmed []string
	for _, e := range entries {
		if e.Fields == nil {
			trimmed = append(trimmed, e.ID)
		} else {
			e.Tried = true
			there = append(there, e)
		}
	}
	if err := r.ackTrimmed(ctx, trimmed); err != nil {
		return nil, err
	}
	if err := r.countDeliveries(ctx, there); err != nil {
		return nil, err
	}
	return there, nil
}

// ackTrimmed acks entries that were trimmed from the stream while pending, and counts those that
// its own ack took from the pending list: each is counted once, however many consumers find it.
func (r *redeliverer) ackTrimmed(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	lost, err := r.clients.Ops.XAck(ctx, r.stream, r.group, ids...).Result()
	if err != nil {
		return fmt.Errorf("ack trimmed entries: %w", err)
	}
	r.countTrimmed(int(lost), ids)
	return nil
}

// countTrimmed records entries that were trimmed from the stream while still pending: so many,
// among ids.
func (r *redeliverer) countTrimmed(lost int, ids []string) {
	if lost > 0 {
		r.metrics.lostPending.Add(float64(lost))
		r.log.Warn("entries were trimmed from the stream while pending and are lost", "entries", lost, "first_id", ids[0])
	}
}

// countDeliveries sets how often entries were delivered: one XPENDING each, in one
// round trip, O(log n) each. An entry that isn't pending any more counts as one.
func (r *redeliverer) countDeliveries(ctx context.Context, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	pipe := r.clients.Ops.Pipeline()
	counts := make([]*redis.XPendingExtCmd, len(entries))
	for i, e := range entries {
		counts[i] = pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.stream, Group: r.group, Start: e.ID, End: e.ID, Count: 1})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("count deliveries: %w", err)
	}
	for i := range entries {
		entries[i].Deliveries = 1
		if found := counts[i].Val(); len(found) == 1 {
			entries[i].Deliveries = int(found[0].RetryCount)
		}
	}
	return nil
}
