package detector

import (
	"context"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/window"
)

// count applies the window operations, in the order of the stream, and fills in
// their counts. If that fails there are no counts, and every plan stays outstanding.
func (p *Pipeline) count(ctx context.Context, turn *consumer.Turn, b *batch) {
	turn.Wait(ctx)
	counts, err := p.windows.Apply(ctx, b.ops)
	turn.Pass()
	if err == nil {
		err = p.recount(ctx, turn, b, counts)
	}
	if err != nil {
		b.fail(err)
		return
	}
	b.counts = counts
}

// recount counts again where an earlier entry could still revoke the result: a
// window that can be cleared has only just reached its threshold, and another process
// may be handling an entry from before the event. In a backlog that entry can be the
// login that followed a user's failures. A lower count replaces the first one.
func (p *Pipeline) recount(ctx context.Context, turn *consumer.Turn, b *batch, counts []window.Count) error {
	marginal, last := b.marginal(counts)
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

// marginal returns the operations whose counts an earlier entry could still
// revoke, as indexes of ops, and the ID of the last entry that has one.
func (b *batch) marginal(counts []window.Count) (ops []int, last string) {
	for _, plan := range b.plans {
		for i := plan.from; i < plan.to; i++ {
			if b.ops[i].Marginal(counts[i]) {
				ops, last = append(ops, i), b.entries[plan.at].ID
			}
		}
	}
	return ops, last
}
