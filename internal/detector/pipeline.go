// Package detector is the worker: it wires the consumer, the rules, the stores
// and the sinks together and runs them.
package detector

import (
	"context"
	"errors"
	"time"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/wire"
)

// A decoder turns an entry into an event. Its errors are the entry's fault.
type decoder interface {
	Decode(stream, id string, fields []string) (event.Event, error)
}

// An emitter passes enforcement events on. A sink that is slow or broken is
// its own affair and no error here.
type emitter interface {
	Emit(ctx context.Context, events []wire.Enforcement) error
}

// cooldowns says which alerts are due.
type cooldowns interface {
	Begin(ctx context.Context, markers []cooldown.Marker) ([]bool, error)
}

// A Pipeline is the way of a batch from entries to effects. It is a
// consumer.Handler, keeps nothing between batches and is safe for concurrent use.
type Pipeline struct {
	decoder   decoder
	rules     *rules.Set
	windows   window.Store
	policy    *enforce.Policy
	shedder   shedder
	clock     streamClock
	blocks    store.Blocks
	cooldowns cooldowns
	sinks     emitter
	now       func() time.Time
	metrics   *pipelineMetrics
	notices   *notices
	uncounted *uncounted
	tracing   tracing
}

// Handle carries a batch through. Whatever fails half way leaves the entries
// whose effects are not all there pending; every effect may be repeated.
func (p *Pipeline) Handle(ctx context.Context, turn *consumer.Turn, entries []consumer.Entry) ([]consumer.Verdict, error) {
	late, clockErr := p.shedder.lateBefore(ctx, entries, p.now())
	b := p.decode(entries, late) // entry → event; or dead; or nothing to detect in
	ctx, end := p.tracing.start(ctx, b)
	defer end()
	if err := p.bound(ctx, b); err != nil { // no event is of the future
		b.pendEvents()
		return b.verdicts, errors.Join(clockErr, err)
	}

	p.plan(b)      // rules say which windows the events touch
	turn.Wait(ctx) // windows see events in the stream's order
	counts, err := p.windows.Apply(ctx, b.ops)
	turn.Pass()
	if err == nil {
		err = p.recount(ctx, turn, b, counts) // unless another process takes something back
	}
	if err != nil {
		b.pendPlanned()
		return b.verdicts, errors.Join(clockErr, err)
	}
	p.judge(b, counts) // rules judge the counts: match
	p.resolve(b)       // what follows from the matches: blocks, alerts

	err = errors.Join(clockErr,
		p.escalate(ctx, b), // how long, for repeat offenders
		p.block(ctx, b),    // the blocks are written
		p.alert(ctx, b),    // the alerts that are due
	)
	return b.verdicts, errors.Join(err, p.sinks.Emit(ctx, b.emissions))
}

// A batch is what is known of the entries on their way.
type batch struct {
	entries  []consumer.Entry
	events   []event.Event // as long as entries; zero where there is none
	verdicts []consumer.Verdict

	ops   []window.Op
	plans []plan

	matches   []matched
	puts      []*put
	alerts    []*due
	emissions []wire.Enforcement
}

// A plan is one rule's look at one event: its operations are ops[from:to].
type plan struct {
	at       int // the entry
	rule     rules.Rule
	from, to int
}

// matched is a match of the event of entry at.
type matched struct {
	rules.Match
	at    int
	since time.Time // when its evidence begins
}

// decode decodes the entries. An entry that can't be decoded is dead, and one
// that speaks of enforcement itself, or is shed, is done, before any rule or state is touched.
func (p *Pipeline) decode(entries []consumer.Entry, late time.Time) *batch {
	b := &batch{entries: entries, events: make([]event.Event, len(entries)), verdicts: make([]consumer.Verdict, len(entries))}
	for i, entry := range entries {
		b.verdicts[i].Status = consumer.Done
		e, err := p.decoder.Decode(entry.Stream, entry.ID, entry.Fields)
		var malformed *wire.Malformed
		switch {
		case errors.As(err, &malformed):
			b.verdicts[i] = consumer.Verdict{Status: consumer.Dead, Reason: malformed.Error()}
			p.metrics.malformed.WithLabelValues(malformed.Class).Inc()
			p.notices.malformed(malformed.Class, entry.Stream, entry.ID)
		case err != nil:
			b.verdicts[i] = consumer.Verdict{Status: consumer.Dead, Reason: err.Error()}
			p.metrics.malformed.WithLabelValues("other").Inc()
		case wire.Filtered(e.Type):
			p.metrics.skipped.Inc()
		case wire.OwnDenial(&e):
			p.metrics.denied.Inc()
		case p.shedder.drops(&entry, e.Type, late):
			p.metrics.shed.Inc()
		default:
			b.events[i] = e
			p.notices.event(&b.events[i])
		}
	}
	return b
}

func (p *Pipeline) plan(b *batch) {
	evaluated := 0
	for i := range b.events {
		e := &b.events[i]
		if e.Type == "" {
			continue
		}
		evaluated++
		for _, rule := range p.rules.For(e.Type) {
			from := len(b.ops)
			b.ops = rule.Plan(e, b.ops)
			b.plans = append(b.plans, plan{at: i, rule: rule, from: from, to: len(b.ops)})
			if len(b.ops) == from {
				p.unused(e, rule)
			}
		}
		if !p.rules.Asked(e.Type) {
			p.uncounted.note(e, "", rules.NoRule)
		}
	}
	p.metrics.evaluated.Add(float64(evaluated))
}

// unused takes note of an event that a rule asked for and can't use.
func (p *Pipeline) unused(e *event.Event, rule rules.Rule) {
	explainer, ok := rule.(rules.Explainer)
	if !ok {
		return
	}
	if reason := explainer.Unusable(e); reason != "" {
		p.uncounted.note(e, rule.Name(), reason)
	}
}

func (p *Pipeline) judge(b *batch, counts []window.Count) {
	sizes := window.Sizes(counts)
	for _, plan := range b.plans {
		m, ok := plan.rule.Judge(&b.events[plan.at], sizes[plan.from:plan.to])
		if !ok {
			continue
		}
		since := evidence(&b.events[plan.at], counts[plan.from:plan.to])
		b.matches = append(b.matches, matched{Match: m, at: plan.at, since: since})
		p.metrics.matches.WithLabelValues(m.Rule).Inc()
	}
}

// evidence returns when what a match of e rests on begins: with the oldest member that one of its
// windows needs to reach the threshold, or with the event alone.
func evidence(e *event.Event, counts []window.Count) time.Time {
	since := e.Time
	for _, c := range counts {
		if !c.Since.IsZero() && c.Since.Before(since) {
			since = c.Since
		}
	}
	return since
}

// pendEvents leaves every entry pending that holds an event to detect in.
func (b *batch) pendEvents() {
	for i := range b.events {
		if b.events[i].Type != "" {
			b.verdicts[i].Status = consumer.Pending
		}
	}
}

// pendPlanned leaves every entry that a rule looked at pending.
func (b *batch) pendPlanned() {
	for _, plan := range b.plans {
		b.verdicts[plan.at].Status = consumer.Pending
	}
}

func (b *batch) pend(entries []int) {
	for _, at := range entries {
		b.verdicts[at].Status = consumer.Pending
	}
}
