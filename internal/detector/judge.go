package detector

import (
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/window"
)

// A match is a rule's match of the event of one entry.
type match struct {
	rules.Match
	at    int       // of the entry
	since time.Time // when its evidence begins
}

// judge asks the rules whether the counts of their plans are a match. Each match
// is outstanding for its entry until it is resolved.
func (p *Pipeline) judge(b *batch) {
	if len(b.counts) != len(b.ops) {
		return // counting failed
	}
	sizes := window.Sizes(b.counts)
	for _, plan := range b.plans {
		e := &b.events[plan.at]
		if m, ok := plan.rule.Judge(e, sizes[plan.from:plan.to]); ok {
			since := evidenceSince(e, b.counts[plan.from:plan.to])
			b.matches = append(b.matches, match{Match: m, at: plan.at, since: since})
			b.require(plan.at)
			p.metrics.matches.WithLabelValues(m.Rule).Inc()
		}
		b.finish(plan.at)
	}
}

// evidenceSince returns when the evidence for a match of e begins: with the oldest
// member that one of its windows needs to reach the threshold, or with the event itself.
func evidenceSince(e *event.Event, counts []window.Count) time.Time {
	since := e.Time
	for _, c := range counts {
		if !c.Since.IsZero() && c.Since.Before(since) {
			since = c.Since
		}
	}
	return since
}
