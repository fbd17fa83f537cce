package detector

import (
	"errors"

	"github.com/wardstream/wardstream/internal/wire"
)

// decode decodes the entries into events. A malformed entry is dead-lettered. An
// entry about enforcement, or about a denial by Wardstream, is skipped before any
// rule or state is touched, so that nothing loops.
func (p *Pipeline) decode(b *batch) {
	for i := range b.entries {
		entry := &b.entries[i]
		e, err := p.decoder.Decode(entry.Stream, entry.ID, entry.Fields)
		switch {
		case err != nil:
			p.malformed(b, i, err)
		case wire.Filtered(e.Type):
			p.metrics.skipped.Inc()
			b.skip(i)
		case wire.OwnDenial(&e):
			p.metrics.denied.Inc()
			b.skip(i)
		default:
			b.events[i] = e
			b.standings[i].progress = decoded
		}
	}
}

// malformed dead-letters an entry that cannot be decoded.
func (p *Pipeline) malformed(b *batch, at int, err error) {
	class, reason := "other", err.Error()
	var malformed *wire.Malformed
	if errors.As(err, &malformed) {
		class, reason = malformed.Class, malformed.Error()
	}
	b.deadLetter(reason, at)
	p.metrics.malformed.WithLabelValues(class).Inc()
	p.warnings.malformed(class, b.entries[at].Stream, b.entries[at].ID)
}
