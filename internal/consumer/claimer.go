package consumer

import (
	"context"
	"fmt"
)

// maxClaimPages is how many pages of the pending list a loop looks at before it
// rests; Redis looks at ten entries for each that may be claimed, 0.1 ms a page of 512.
const maxClaimPages = 64

// claimDepth is how deep the lists of XAUTOCLAIM's reply are: reply, entries, entry, fields.
const claimDepth = 4

// claim handles one page of what other consumers have left untouched for
// ClaimMinIdle. Between pages the loop reads.
func (l *loop) claim(ctx context.Context) error {
	reply, err := l.autoClaim(ctx)
	if err != nil {
		return err
	}
	if err := l.lose(ctx, reply.deleted, false); err != nil {
		return err
	}
	if reply.absent > 0 { // Redis 6.2: draining finds and acks them
		l.owed = max(l.owed, 1)
	}
	entries := l.hand.without(reply.entries)
	l.metrics.claimed.Add(float64(len(entries)))
	l.claimFrom = reply.cursor
	l.claimPages++
	if l.claimFrom == firstID || l.claimPages >= maxClaimPages {
		l.claimPages = 0
		l.claimDue = l.Now().Add(jitter(l.ClaimMinIdle / 3))
	}
	return l.redeliver(ctx, entries)
}

func (l *loop) autoClaim(ctx context.Context) (claimReply, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	args := []any{"XAUTOCLAIM", l.stream, l.Group, l.consumer, l.ClaimMinIdle.Milliseconds(), l.claimFrom, "COUNT", l.count}
	raw, err := l.fetchRaw(ctx, l.Clients.Ops, l.replyBytes, args)
	if err != nil { // what is too large to be read is ours nevertheless, and drained
		return claimReply{}, fmt.Errorf("claim entries: %w", err)
	}
	reply, err := parseTree(raw, claimDepth)
	if isReply(err, "MOVED") || isReply(err, "ASK") {
		reply, err = l.Clients.Ops.Do(ctx, args...).Result()
	}
	if err != nil {
		return claimReply{}, fmt.Errorf("claim entries: %w", err)
	}
	claimed, err := claimTree(l.stream, reply)
	if err != nil {
		return claimReply{}, fmt.Errorf("claim entries: %w", err)
	}
	return claimed, nil
}
