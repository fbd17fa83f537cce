package detector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/wire"
)

// shedInRedis is what the consumer skips without handing it over: flat entries that say their type in one field.
func shedInRedis(s *config.Stream, m *pipelineMetrics) consumer.Shedding {
	if s.Overload == config.InOrder {
		return consumer.Shedding{}
	}
	return consumer.Shedding{
		Field: "event_type", Values: s.ShedTypes, Unless: "event",
		Count: func(entries int) { m.shed.Add(float64(entries)) },
	}
}

// A shedder says which entries are skipped because the group is behind, so that
// fresh ones are reached, of those whose type the consumer can't tell. Its zero value sheds nothing.
//
// An entry is shed at its first delivery or not at all: one that was tried may
// have effects already, such as a permanent block that waits for Postgres, and those are
// seen through. What is shed has none, so redelivery can't find half of them.
type shedder struct {
	maxLag time.Duration
	sheds  func(eventType string) bool
	clock  streamClock
}

// A streamClock tells the time by the clock that makes the IDs of a stream's entries.
type streamClock interface {
	Time(ctx context.Context, stream string) (time.Time, error)
}

// newShedder returns what the configuration asks for.
func newShedder(s *config.Stream, client redis.UniversalClient) shedder {
	if s.Overload == config.InOrder {
		return shedder{}
	}
	return shedder{maxLag: s.MaxLag, sheds: s.Sheds, clock: redisClock{client}}
}

// lateBefore is the time before which entries of the batch are late; zero if
// none are. Redis is asked only where the worker's clock says that there may be
// one. Without an answer nothing is shed.
func (s shedder) lateBefore(ctx context.Context, batch []consumer.Entry, ours time.Time) (time.Time, error) {
	if s.clock == nil || len(batch) == 0 {
		return time.Time{}, nil
	}
	if first, ok := wire.EntryTime(batch[0].ID); !ok || ours.Add(aheadOfUs).Sub(first) < s.maxLag {
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
	if late.IsZero() || e.Tried || eventType == "" || wire.Filtered(eventType) || !s.sheds(eventType) {
		return false
	}
	at, ok := wire.EntryTime(e.ID)
	return ok && at.Before(late)
}

// timeScript asks the node that has a stream for its time.
//
//	KEYS: the stream
//	ARGV: none
//	Result: seconds and microseconds, as TIME
//	Cost: O(1)
var timeScript = redis.NewScript(`return redis.call('TIME')`)

var errTime = errors.New("the reply is no time")

type redisClock struct{ client redis.UniversalClient }

// Time implements streamClock.
func (c redisClock) Time(ctx context.Context, stream string) (time.Time, error) {
	parts, err := timeScript.Run(ctx, c.client, []string{stream}).Int64Slice()
	if err == nil && len(parts) != 2 {
		err = errTime
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("ask Redis for the time: %w", err)
	}
	return time.Unix(parts[0], parts[1]*int64(time.Microsecond)), nil
}
