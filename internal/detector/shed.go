package detector

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/streamclock"
	"github.com/wardstream/wardstream/internal/wire"
)

// shed skips the late events of an overloaded worker, of the types that the
// configuration allows, so that fresh events are reached. Without the time of
// Redis nothing is shed.
func (p *Pipeline) shed(ctx context.Context, b *batch) {
	late, err := p.shedder.lateBefore(ctx, b.entries, p.now())
	b.fail(err)
	for i := range b.entries {
		if b.standings[i].progress == decoded && p.shedder.drops(&b.entries[i], b.events[i].Type, late) {
			p.metrics.shed.Inc()
			b.skip(i)
		}
	}
	b.advance(decoded, admitted)
}

// shedInRedis is what the consumer sheds without delivering it: flat entries whose type is in one
// field.
func shedInRedis(s *config.Stream, m *pipelineMetrics) consumer.Shedding {
	if s.Overload == config.InOrder {
		return consumer.Shedding{}
	}
	return consumer.Shedding{
		Field: "event_type", Values: s.ShedTypes, Unless: "event",
		Count: func(entries int) { m.shed.Add(float64(entries)) },
	}
}

// A shedder decides which entries are shed, of those whose type the consumer
// cannot tell. Its zero value sheds nothing.
//
// An entry is shed at its first delivery or not at all: one that was tried may
// have effects already, such as a permanent block that waits for Postgres, and
// those are completed.
type shedder struct {
	maxLag time.Duration
	sheds  func(eventType string) bool
	clock  streamClock
}

// newShedder returns the shedder that the configuration asks for.
func newShedder(s *config.Stream, client redis.UniversalClient) shedder {
	if s.Overload == config.InOrder {
		return shedder{}
	}
	return shedder{maxLag: s.MaxLag, sheds: s.Sheds, clock: streamclock.Clock{Client: client}}
}

// lateBefore is the time before which entries of the batch are late; zero if
// none are. Redis is asked only where the worker's own clock says that one may be.
func (s shedder) lateBefore(ctx context.Context, batch []consumer.Entry, ours time.Time) (time.Time, error) {
	if s.clock == nil || len(batch) == 0 {
		return time.Time{}, nil
	}
	if first, ok := wire.EntryTime(batch[0].ID); !ok || ours.Add(streamclock.Skew).Sub(first) < s.maxLag {
		return time.Time{}, nil
	}
	now, err := s.clock.Time(ctx, batch[0].Stream)
	if err != nil {
		return time.Time{}, err
	}
	return now.Add(-s.maxLag), nil
}

// drops reports whether an entry of the type is shed. late is what lateBefore returned.
func (s shedder) drops(e *consumer.Entry, eventType string, late time.Time) bool {
	if late.IsZero() || e.Tried || !s.sheds(eventType) {
		return false
	}
	at, ok := wire.EntryTime(e.ID)
	return ok && at.Before(late)
}
