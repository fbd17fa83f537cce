package detector

import (
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
)

// A plan is the evaluation of one event by one rule. Its window operations are ops[from:to].
type plan struct {
	at       int // of the entry
	rule     rules.Rule
	from, to int
}

// plan asks the rules which windows the events touch. Each plan is outstanding for
// its entry until the rule has judged it.
func (p *Pipeline) plan(b *batch) {
	evaluated := 0
	for i := range b.events {
		if b.standings[i].progress != clamped {
			continue
		}
		e := &b.events[i]
		evaluated++
		p.warnings.event(e)
		for rule := range p.rules.For(e) {
			from := len(b.ops)
			b.ops = rule.Plan(e, b.ops)
			b.plans = append(b.plans, plan{at: i, rule: rule, from: from, to: len(b.ops)})
			b.require(i)
			if len(b.ops) == from {
				p.unused(e, rule)
			}
		}
		if !p.rules.Asked(e.Type) {
			p.uncounted.Note(e, "", rules.NoRule)
		}
	}
	b.advance(clamped, planned)
	p.metrics.evaluated.Add(float64(evaluated))
}

// unused counts an event that a rule asked for and cannot use.
func (p *Pipeline) unused(e *event.Event, rule rules.Rule) {
	explainer, ok := rule.(rules.Explainer)
	if !ok {
		return
	}
	if reason := explainer.Unusable(e); reason != "" {
		p.uncounted.Note(e, rule.Name(), reason)
	}
}
