package detector

import (
	"context"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An emission is an enforcement event to publish, and the entries that led to it.
type emission struct {
	event   wire.Enforcement
	entries []int
}

// addEmission registers an enforcement event to be published.
func (b *batch) addEmission(e wire.Enforcement, entries []int) {
	b.emissions = append(b.emissions, emission{event: e, entries: entries})
	b.require(entries...)
}

// emit publishes the enforcement events.
func (p *Pipeline) emit(ctx context.Context, b *batch) {
	if len(b.emissions) == 0 {
		return
	}
	events := make([]wire.Enforcement, len(b.emissions))
	for i := range b.emissions {
		events[i] = b.emissions[i].event
	}
	if err := p.sinks.Emit(ctx, events); err != nil {
		b.fail(err)
		return
	}
	for i := range b.emissions {
		b.finish(b.emissions[i].entries...)
	}
}

// blockApplied is the event of a block that began or became permanent.
func (p *Pipeline) blockApplied(b *batch, w *blockWrite, block checker.Block) wire.Enforcement {
	e, cause := wire.BlockApplied(block), &b.events[w.match.at]
	e.Time, e.Observed, e.TraceParent = cause.Time, p.now(), cause.TraceParent
	return e
}

// alertEvent is the event of an alert.
func (p *Pipeline) alertEvent(b *batch, a *alert, id string) wire.Enforcement {
	m, cause := a.match, &b.events[a.match.at]
	return wire.Enforcement{
		Type: wire.TypeAlert, ID: id, Rule: m.Rule, Severity: m.Severity, Description: m.Message,
		Action: wire.ActionAlert, Scope: a.scope, DryRun: a.dryRun,
		SourceAddress: cause.Scope(checker.ScopeIP), SessionID: cause.Scope(checker.ScopeSession), UserID: cause.Scope(checker.ScopeUser),
		Time: cause.Time, Observed: p.now(), TraceParent: cause.TraceParent,
	}
}
