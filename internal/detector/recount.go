package detector

import (
	"context"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/window"
)

// recount counts anew what earlier entries may still take back: where a window that clears come to has only just
// reached its threshold, and other processes may have been handling entries from before the event. In a backlog such an
// entry can be the success that somebody's failures led to. What it finds replaces counts that are higher.
func (p *Pipeline) recount(ctx context.Context, turn *consumer.Turn, b *batch, counts []window.Count) error {
	var marginal []int // of b.ops
	last := ""
	for _, plan := range b.plans {
		for i := plan.from; i < plan.to; i++ {
			if b.ops[i].Marginal(counts[i]) {
				marginal, last = append(marginal, i), b.entries[plan.at].ID
			}
		}
	}
	if len(marginal) == 0 {
		return nil
	}
	peersAtWork, err := turn.Settle(ctx, last)
	if err != nil || !peersAtWork {
		return err
	}
	ops := make([]window.Op, len(marginal))
	for i, at := range marginal {
		ops[i] = b.ops[at]
	}
	again, err := p.windows.Recount(ctx, ops)
	if err != nil {
		return err
	}
	for i, at := range marginal {
		if again[i].Size < counts[at].Size {
			counts[at] = again[i]
		}
	}
	return nil
}
