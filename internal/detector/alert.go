package detector

import (
	"context"

	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/wire"
)

// alert begins the cooldowns of the alerts. Those whose cooldown had begun are
// repetitions and end here; the others are passed on to be published.
func (p *Pipeline) alert(ctx context.Context, b *batch) {
	if len(b.alerts) == 0 {
		return
	}
	markers := make([]cooldown.Marker, len(b.alerts))
	for i, a := range b.alerts {
		markers[i] = cooldown.Marker{
			Rule: a.match.Rule, Group: a.match.Group, TTL: a.match.Cooldown,
			ID: wire.EnforcementID(b.events[a.match.at].ID, a.match.Rule, "", a.match.Group),
		}
	}
	due, err := p.cooldowns.Begin(ctx, markers)
	if err != nil {
		b.fail(err)
		return
	}
	for i, a := range b.alerts {
		emitted := 0
		if due[i] {
			emitted = 1
			b.addEmission(p.alertEvent(b, a, markers[i].ID), a.entries)
		}
		p.metrics.alerts.WithLabelValues(a.match.Rule, "emitted").Add(float64(emitted))
		p.metrics.alerts.WithLabelValues(a.match.Rule, "repeated").Add(float64(len(a.entries) - emitted))
		b.finish(a.entries...)
	}
}
