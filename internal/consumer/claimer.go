package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/wardstream/wardstream/internal/resp"
)

// maxClaimPages is how many pages of the pending list a loop looks at before it
// rests; Redis looks at ten entries for each that may be claimed, 0.1 ms a page of 512.
const maxClaimPages = 64

// claim handles one page of what other consumers have left untouched for
// ClaimMinIdle. Between pages the loop reads.
func (l *loop) claim(ctx context.Context) error {
	reply, err := l.autoClaim(ctx)
	if err != nil {
		return err
	}
	if err := l.lose(ctx, reply.Deleted, false); err != nil {
		return err
	}
	if reply.Absent > 0 { // Redis 6.2: draining finds and acks them
		l.owed = max(l.owed, 1)
	}
	entries := l.inFlight.exclude(entriesOf(l.stream, reply.Entries))
	l.metrics.claimed.Add(float64(len(entries)))
	l.claimFrom = reply.Cursor
	l.claimPages++
	if l.claimFrom == firstID || l.claimPages >= maxClaimPages {
		l.claimPages = 0
		l.claimDue = l.Now().Add(jitter(l.ClaimMinIdle / 3))
	}
	return l.redeliver(ctx, entries)
}

func (l *loop) autoClaim(ctx context.Context) (resp.Claimed, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	args := []any{"XAUTOCLAIM", l.stream, l.Group, l.name, l.ClaimMinIdle.Milliseconds(), l.claimFrom, "COUNT", l.count}
	raw, err := resp.Fetch(ctx, l.Clients.Ops, l.stream, l.replyBytes, args...)
	if errors.Is(err, resp.ErrTooLarge) { // what is too large to be read is ours nevertheless, and drained
		l.count = 1
	}
	if err != nil {
		return resp.Claimed{}, fmt.Errorf("claim entries: %w", err)
	}
	claimed, err := resp.AutoClaim(raw)
	if err != nil {
		return resp.Claimed{}, fmt.Errorf("claim entries: %w", err)
	}
	return claimed, nil
}
