package detector

import (
	"context"
	"time"

	"github.com/wardstream/wardstream/internal/streamclock"
)

// clamp gives events with a future timestamp the current time, by the clock that
// makes entry IDs. An entry whose ID lies in the future gives every later entry of
// its stream that time until it has come: windows would see the events of hours as
// simultaneous, and blocks would last until long after it. At a redelivery the time
// differs, but a member of a window keeps the one it had.
//
// Redis is asked only where the worker's own clock says that there may be such an
// event. Without an answer no event of the batch goes on.
func (p *Pipeline) clamp(ctx context.Context, b *batch) {
	if !b.anyAfter(p.now().Add(streamclock.Skew)) {
		b.advance(admitted, clamped)
		return
	}
	now, err := p.clock.Time(ctx, b.entries[0].Stream)
	if err != nil {
		b.fail(err)
		return
	}
	for i := range b.events {
		if e := &b.events[i]; e.Time.After(now) {
			e.Time = now
			p.metrics.future.Inc()
		}
	}
	b.advance(admitted, clamped)
}

func (b *batch) anyAfter(at time.Time) bool {
	for i := range b.events {
		if b.events[i].Time.After(at) {
			return true
		}
	}
	return false
}
