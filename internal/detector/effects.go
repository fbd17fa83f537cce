package detector

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A put is one block to write, for all the matches of the batch that ask for a
// block of its kind on its scope: the strongest of them, under the ID of the first.
type put struct {
	store.Put
	at      time.Time // of the latest of its events
	match   matched
	ids     []string // of every match: which of them began the block depends on the batches they came in
	entries []int
}

// A due is an alert, for all the matches of the batch of one rule and group.
type due struct {
	match   matched
	scope   checker.Scope // what would have been blocked, if anything
	dryRun  bool
	entries []int
}

type putKey struct {
	scope     checker.Scope
	permanent bool
}

type alertKey struct{ rule, group string }

// resolve says what follows from the matches. An attack makes many matches of
// one kind in a batch; they are merged, so that it costs the stores no more
// than one.
func (p *Pipeline) resolve(b *batch) {
	puts, alerts := map[putKey]*put{}, map[alertKey]*due{}
	for _, m := range b.matches {
		e := &b.events[m.at]
		d := p.policy.Resolve(e, m.Match)
		for _, block := range d.Blocks {
			block.ID = wire.EnforcementID(e.ID, m.Rule, block.Scope.Type, block.Scope.Value)
			b.addPut(puts, store.Put{Block: block, EvidenceTime: m.since}, m)
		}
		if d.Alert {
			b.addAlert(alerts, d, m)
		}
	}
}

func (b *batch) addPut(puts map[putKey]*put, want store.Put, m matched) {
	key, id := putKey{want.Block.Scope, want.Block.Permanent()}, want.Block.ID
	held, ok := puts[key]
	if !ok {
		held = &put{Put: want, at: b.events[m.at].Time, match: m}
		puts[key] = held
		b.puts = append(b.puts, held)
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
}

// began reports whether r says that this put began the block, or made it
// permanent: now, or at an earlier delivery of one of its entries, so that what tells of it
// may have been lost with the worker.
func (p *put) began(r store.Result) bool {
	switch r.Outcome {
	case store.Began, store.BecamePermanent:
		return true
	case store.Kept, store.Extended:
		return r.Block.Permanent() == p.Block.Permanent() && slices.Contains(p.ids, r.Block.ID)
	case store.Lapsed, store.Unblocked:
	}
	return false
}

func (b *batch) addAlert(alerts map[alertKey]*due, d enforce.Decision, m matched) {
	key := alertKey{m.Rule, m.Group}
	held, ok := alerts[key]
	if !ok {
		held = &due{match: m, dryRun: len(d.DryRun) > 0}
		if spared := slices.Concat(d.DryRun, d.Allowed); len(spared) > 0 {
			held.scope = spared[0]
		}
		alerts[key] = held
		b.alerts = append(b.alerts, held)
	}
	held.entries = append(held.entries, m.at)
}

// escalate lengthens the blocks of scopes that were blocked before.
func (p *Pipeline) escalate(ctx context.Context, b *batch) error {
	if p.policy.Escalate == nil || len(b.puts) == 0 {
		return nil
	}
	ops := make([]window.Op, len(b.puts))
	for i, put := range b.puts {
		ops[i] = p.policy.Escalate.Previous(put.Block.Scope, put.at)
	}
	previous, err := p.windows.Apply(ctx, ops)
	if err != nil {
		for _, put := range b.puts {
			b.pend(put.entries)
		}
		b.puts = nil
		return err
	}
	for i, put := range b.puts {
		put.Block = p.policy.Escalate.Apply(put.Block, previous[i].Size)
	}
	return nil
}

// block writes the blocks and says which events tell of them.
func (p *Pipeline) block(ctx context.Context, b *batch) error {
	if len(b.puts) == 0 {
		return nil
	}
	puts := make([]store.Put, len(b.puts))
	for i, put := range b.puts {
		puts[i] = put.Put
	}
	results, err := p.blocks.Put(ctx, puts)
	if err != nil {
		for _, put := range b.puts {
			b.pend(put.entries)
		}
		return err
	}
	var failed []error
	var offences []window.Op
	for i, r := range results {
		put := b.puts[i]
		if r.Err != nil {
			failed = append(failed, p.refuse(b, put, r.Err))
		}
		p.metrics.put(put.match.Rule, put.Block.Permanent(), r.Outcome)
		if put.began(r) {
			p.metrics.delay.Observe(p.now().Sub(b.events[put.entries[0]].Time).Seconds())
			b.emissions = append(b.emissions, p.blockApplied(b, put, r.Block))
		}
		if p.policy.Escalate != nil && !r.Block.Permanent() && (put.began(r) || r.Outcome == store.Extended) {
			offences = append(offences, p.policy.Escalate.Remember(r.Block))
		}
	}
	return errors.Join(errors.Join(failed...), p.remember(ctx, b, offences))
}

// refuse settles the entries of a block that was not written: dead if it never
// can be, pending if the store was to blame. It returns the latter's error.
func (p *Pipeline) refuse(b *batch, put *put, err error) error {
	if errors.Is(err, store.ErrUnstorable) {
		for _, at := range put.entries {
			if b.verdicts[at].Status != consumer.Pending { // another of its blocks is still to be written
				b.verdicts[at] = consumer.Verdict{Status: consumer.Dead, Reason: "unstorable block: " + err.Error()}
			}
		}
		return nil
	}
	b.pend(put.entries)
	return err
}

func (p *Pipeline) remember(ctx context.Context, b *batch, offences []window.Op) error {
	if len(offences) == 0 {
		return nil
	}
	_, err := p.windows.Apply(ctx, offences)
	if err != nil {
		for _, put := range b.puts {
			b.pend(put.entries)
		}
	}
	return err
}

// alert emits the alerts whose cooldown has not begun.
func (p *Pipeline) alert(ctx context.Context, b *batch) error {
	if len(b.alerts) == 0 {
		return nil
	}
	markers := make([]cooldown.Marker, len(b.alerts))
	for i, a := range b.alerts {
		markers[i] = cooldown.Marker{
			Rule: a.match.Rule, Group: a.match.Group, TTL: a.match.Cooldown,
			ID: wire.EnforcementID(b.events[a.match.at].ID, a.match.Rule, "", a.match.Group),
		}
	}
	dues, err := p.cooldowns.Begin(ctx, markers)
	if err != nil {
		for _, a := range b.alerts {
			b.pend(a.entries)
		}
		return err
	}
	for i, a := range b.alerts {
		emitted := 0
		if dues[i] {
			emitted = 1
			b.emissions = append(b.emissions, p.alertEvent(b, a, markers[i].ID))
		}
		p.metrics.alerts.WithLabelValues(a.match.Rule, "emitted").Add(float64(emitted))
		p.metrics.alerts.WithLabelValues(a.match.Rule, "repeated").Add(float64(len(a.entries) - emitted))
	}
	return nil
}

// ttlSeconds is a block's length in whole seconds, as events carry it.
func ttlSeconds(b checker.Block) int {
	return int(b.ExpiresAt.Sub(b.CreatedAt).Round(time.Second).Seconds())
}
