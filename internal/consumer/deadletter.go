package consumer

import (
	"context"

	"github.com/wardstream/wardstream/internal/deadletter"
)

// deadLetter makes dead letters of items.
func (l *loop) deadLetter(ctx context.Context, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	letters := make([]deadletter.Letter, len(items))
	for i, it := range items {
		letters[i] = deadletter.Letter{EntryID: it.ID, Reason: it.verdict.Reason, Deliveries: it.Deliveries, At: l.Now(), Fields: it.Fields}
	}
	outcomes, err := l.dead.Write(ctx, letters)
	for i, outcome := range outcomes {
		it := items[i]
		it.settled = outcome != deadletter.Unwritten
		if outcome == deadletter.Written {
			l.metrics.deadLetter(it.verdict.Reason)
			l.log.Warn("entry became a dead letter", "id", it.ID, "reason", it.verdict.Reason, "deliveries", it.Deliveries)
		}
	}
	return err
}
