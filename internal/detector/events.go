package detector

import (
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// blockApplied tells that a block began or became permanent.
func (p *Pipeline) blockApplied(b *batch, put *put, block checker.Block) wire.Enforcement {
	e, cause := appliedEvent(block), &b.events[put.match.at]
	e.Time, e.Observed, e.TraceParent = cause.Time, p.now(), cause.TraceParent
	return e
}

// appliedEvent tells of a block, whoever asked for it.
func appliedEvent(block checker.Block) wire.Enforcement {
	e := wire.Enforcement{
		Type: wire.TypeBlockApplied, ID: block.ID, Time: block.CreatedAt, Scope: block.Scope, Rule: block.Rule,
		Action: wire.ActionPermanent,
	}
	if !block.Permanent() {
		e.Action, e.TTL, e.ExpiresAt = wire.ActionTemp, ttlSeconds(block), block.ExpiresAt
	}
	return e
}

// alertEvent tells of a match that nobody is blocked for.
func (p *Pipeline) alertEvent(b *batch, a *due, id string) wire.Enforcement {
	m, cause := a.match, &b.events[a.match.at]
	return wire.Enforcement{
		Type: wire.TypeAlert, ID: id, Rule: m.Rule, Severity: m.Severity, Description: m.Message,
		Action: wire.ActionAlert, Scope: a.scope, DryRun: a.dryRun,
		SourceAddress: cause.Scope(checker.ScopeIP), SessionID: cause.Scope(checker.ScopeSession), UserID: cause.Scope(checker.ScopeUser),
		Time: cause.Time, Observed: p.now(), TraceParent: cause.TraceParent,
	}
}
