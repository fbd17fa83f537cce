package detector

import (
	"context"

	"github.com/wardstream/wardstream/internal/window"
)

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
