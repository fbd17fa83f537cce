package detector

import (
	"context"

	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An offence is a temporary block to remember, for the length of the next one.
type offence struct {
	op      window.Op
	entries []int
}

// escalate decides the length of the blocks: longer where the scope was blocked
// before. If its history cannot be read nothing is passed on to be written.
func (p *Pipeline) escalate(ctx context.Context, b *batch) {
	if p.policy.Escalate != nil && len(b.blocks) > 0 {
		ops := make([]window.Op, len(b.blocks))
		for i, w := range b.blocks {
			ops[i] = p.policy.Escalate.Previous(w.Block.Scope, w.at)
		}
		previous, err := p.windows.Apply(ctx, ops)
		if err != nil {
			b.fail(err)
			return
		}
		for i, w := range b.blocks {
			w.Block = p.policy.Escalate.Apply(w.Block, previous[i].Size)
		}
	}
	b.escalated = b.blocks
}

// addOffence registers a temporary block that was written to be remembered.
func (p *Pipeline) addOffence(b *batch, block checker.Block, entries []int) {
	b.offences = append(b.offences, offence{op: p.policy.Escalate.Remember(block), entries: entries})
	b.require(entries...)
}

// remember adds the blocks that were written to the history of their scopes.
func (p *Pipeline) remember(ctx context.Context, b *batch) {
	if len(b.offences) == 0 {
		return
	}
	ops := make([]window.Op, len(b.offences))
	for i, o := range b.offences {
		ops[i] = o.op
	}
	if _, err := p.windows.Apply(ctx, ops); err != nil {
		b.fail(err)
		return
	}
	for _, o := range b.offences {
		b.finish(o.entries...)
	}
}
