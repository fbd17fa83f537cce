package consumer

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// reasonUnreadable is that of an entry that no reply may hold, even alone.
const reasonUnreadable = "oversized: too large to be read"

// deadLetterUnreadable makes a dead letter, without fields, of the next entry to be
// drained, which is too large to be read by itself.
func (l *loop) deadLetterUnreadable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	next, err := l.Clients.Ops.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: l.stream, Group: l.Group, Consumer: l.name, Start: "(" + l.drained, End: "+", Count: 1,
	}).Result()
	if err != nil {
		return fmt.Errorf("find unreadable entry: %w", err)
	}
	if len(next) == 0 {
		return nil // somebody else has it by now
	}
	it := &item{Entry: Entry{Stream: l.stream, ID: next[0].ID, Deliveries: int(next[0].RetryCount)}}
	it.verdict = Verdict{Status: Dead, Reason: reasonUnreadable}
	l.drained = it.ID
	return l.deadLetter(ctx, []*item{it})
}
