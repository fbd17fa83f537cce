package detector

import (
	"context"
	"errors"
	"slices"

	"github.com/wardstream/wardstream/internal/store"
)

// block writes the blocks.
func (p *Pipeline) block(ctx context.Context, b *batch) {
	if len(b.escalated) == 0 {
		return
	}
	puts := make([]store.Put, len(b.escalated))
	for i, w := range b.escalated {
		puts[i] = w.Put
	}
	results, err := p.blocks.Put(ctx, puts)
	if err != nil {
		b.fail(err)
		return
	}
	for i, r := range results {
		p.blockWritten(b, b.escalated[i], r)
	}
}

// blockWritten reports what became of a block, and registers what follows from it.
// A block may be in force, and be published, although one of its stores failed.
func (p *Pipeline) blockWritten(b *batch, w *blockWrite, r store.Result) {
	p.metrics.put(w.match.Rule, w.Block.Permanent(), r.Outcome)
	began := w.began(r)
	if began {
		p.metrics.delay.Observe(p.now().Sub(b.events[w.entries[0]].Time).Seconds())
		b.addEmission(p.blockApplied(b, w, r.Block), w.entries)
	}
	if p.policy.Escalate != nil && !r.Block.Permanent() && (began || r.Outcome == store.Extended) {
		p.addOffence(b, r.Block, w.entries)
	}
	switch {
	case errors.Is(r.Err, store.ErrUnstorable):
		b.deadLetter("unstorable block: "+r.Err.Error(), w.entries...)
	case r.Err != nil:
		b.fail(r.Err)
		return // the store is to blame: the block stays outstanding
	}
	b.finish(w.entries...)
}

// began reports whether this write began the block, or made it permanent: now, or
// at an earlier delivery of one of its entries, whose worker may have died before the
// event was published.
func (w *blockWrite) began(r store.Result) bool {
	switch r.Outcome {
	case store.Began, store.BecamePermanent:
		return true
	case store.Kept, store.Extended:
		return r.Block.Permanent() == w.Block.Permanent() && slices.Contains(w.ids, r.Block.ID)
	case store.Lapsed, store.Unblocked:
	}
	return false
}
