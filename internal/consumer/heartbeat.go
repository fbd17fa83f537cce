package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// heartbeatIDs is how many entries one XCLAIM names.
const heartbeatIDs = 1000

// heartbeats keeps what the loop has in hand from being claimed by others: the
// idle clock of an entry starts when it is delivered, not when it is handled.
func (l *loop) heartbeats(ctx context.Context) {
	ticker := time.NewTicker(max(l.ClaimMinIdle/3, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := l.beat(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("sending a heartbeat failed; others may claim what is in hand", "error", err)
		}
	}
}

// beat resets the idle time of what is in hand; JUSTID leaves the count of
// deliveries alone. Entries that have been acked meanwhile are not affected.
func (l *loop) beat(ctx context.Context) error {
	for ids := range slices.Chunk(l.hand.ids(), heartbeatIDs) {
		args := []any{"XCLAIM", l.stream, l.Group, l.name, 0}
		for _, id := range ids {
			args = append(args, id)
		}
		if err := l.do(ctx, append(args, "JUSTID")...); err != nil {
			return fmt.Errorf("claim what is in hand: %w", err)
		}
	}
	return nil
}
