package detector

import (
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A blockWrite is one block to write, for all the matches of the batch that ask for a
// block of its kind on its scope: the strongest of them, under the ID of the first.
type blockWrite struct {
	store.Put
	at      time.Time // of the latest of its events
	match   match     // the one that asked for this block
	ids     []string  // of the blocks that the matches asked for, any of which may have begun it
	entries []int
}

// An alert is one alert, for all the matches of the batch of one rule and group.
type alert struct {
	match   match
	scope   checker.Scope // that would have been blocked, if any
	dryRun  bool
	entries []int
}

type blockKey struct {
	scope     checker.Scope
	permanent bool
}

type alertKey struct{ rule, group string }

// resolve decides what follows from the matches: blocks and alerts, which are
// outstanding for their entries from then on. An attack makes many matches of one kind
// in a batch; they are merged, so that it costs the stores no more than one match.
func (p *Pipeline) resolve(b *batch) {
	blocks, alerts := map[blockKey]*blockWrite{}, map[alertKey]*alert{}
	for _, m := range b.matches {
		e := &b.events[m.at]
		d := p.policy.Resolve(e, m.Match)
		for _, block := range d.Blocks {
			block.ID = wire.EnforcementID(e.ID, m.Rule, block.Scope.Type, block.Scope.Value)
			b.addBlock(blocks, store.Put{Block: block, EvidenceTime: m.since}, m)
		}
		if d.Alert {
			b.addAlert(alerts, d, m)
		}
		b.finish(m.at)
	}
}

func (b *batch) addBlock(blocks map[blockKey]*blockWrite, want store.Put, m match) {
	key, id := blockKey{want.Block.Scope, want.Block.Permanent()}, want.Block.ID
	held, ok := blocks[key]
	if !ok {
		held = &blockWrite{Put: want, at: b.events[m.at].Time, match: m}
		blocks[key] = held
		b.blocks = append(b.blocks, held)
	} else if want.Block.Stronger(held.Block) {
		want.Block.ID, want.Block.CreatedAt = held.Block.ID, held.Block.CreatedAt
		held.Block, held.match = want.Block, m
	}
	if want.EvidenceTime.After(held.EvidenceTime) {
		held.EvidenceTime = want.EvidenceTime
	}
	if at := b.events[m.at].Time; at.After(held.at) {
		held.at = at
	}
	held.ids = append(held.ids, id)
	held.entries = append(held.entries, m.at)
	b.require(m.at)
}

func (b *batch) addAlert(alerts map[alertKey]*alert, d enforce.Decision, m match) {
	key := alertKey{m.Rule, m.Group}
	held, ok := alerts[key]
	if !ok {
		held = &alert{match: m, dryRun: len(d.DryRun) > 0}
		if spared := slices.Concat(d.DryRun, d.Allowed); len(spared) > 0 {
			held.scope = spared[0]
		}
		alerts[key] = held
		b.alerts = append(b.alerts, held)
	}
	held.entries = append(held.entries, m.at)
	b.require(m.at)
}
