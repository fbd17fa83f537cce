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
