package detector

import (
	"context"
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/event"
)

// aheadOfUs is how far the clock that makes entry IDs may be ahead of the worker's without a question.
const aheadOfUs = time.Second

// bound sees to it that no event is of the future. An entry whose ID is gives all later ones of the stream that time until
// it has come: windows would see events of hours as of one moment, and blocks would last until long after it. Such events are
// taken to be of now, by the clock that makes the IDs. That differs at redelivery, but a member of a window keeps the time it had.
//
// Redis is asked only where the worker's clock says that there may be such an event.
func (p *Pipeline) bound(ctx context.Context, b *batch) error {
	ours := p.now().Add(aheadOfUs)
	if !slices.ContainsFunc(b.events, func(e event.Event) bool { return e.Time.After(ours) }) {
		return nil
	}
	now, err := p.clock.Time(ctx, b.entries[0].Stream)
	if err != nil {
		return err
	}
	for i := range b.events {
		if e := &b.events[i]; e.Time.After(now) {
			e.Time = now
			p.metrics.future.Inc()
		}
	}
	return nil
}
