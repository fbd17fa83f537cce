// Package streamclock reads the clock that makes the IDs of stream entries,
// which may differ from the clock of this host.
package streamclock

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/wire"
)

// Skew is how far the clock that makes entry IDs may be ahead of this host's before an
// entry counts as one with a future timestamp.
const Skew = time.Second

// ErrReply is in the chain of the error of a reply that is not a time.
var ErrReply = errors.New("the reply is not a time")

//go:embed scripts/time.lua
var timeSource string

var timeScript = redislua.New(timeSource)

// A Clock is the clock of Redis. It is safe for concurrent use.
type Clock struct{ Client redis.UniversalClient }

// Time returns the time of the node that has the stream: one round trip.
func (c Clock) Time(ctx context.Context, stream string) (time.Time, error) {
	parts, err := timeScript.Run(ctx, c.Client, []string{stream}).Int64Slice()
	if err == nil && len(parts) != 2 {
		err = ErrReply
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("ask Redis for the time: %w", err)
	}
	return time.Unix(parts[0], parts[1]*int64(time.Microsecond)), nil
}

// Latest returns a time that is no earlier than that of any event in the streams: the
// time of Redis, or of the last entry, which is later if the clock of Redis was set back.
// An entry that is ahead of now, the time of this host, by more than Skew does not count.
func (c Clock) Latest(ctx context.Context, streams []string, now time.Time) (time.Time, error) {
	var latest time.Time
	for _, stream := range streams {
		theirs, err := c.Time(ctx, stream)
		if err != nil {
			return time.Time{}, err
		}
		latest = later(latest, theirs)
		info, err := c.Client.XInfoStream(ctx, stream).Result()
		switch {
		case redis.HasErrorPrefix(err, "no such key"):
			continue
		case err != nil:
			return time.Time{}, fmt.Errorf("look at stream: %w", err)
		}
		if last, ok := wire.EntryTime(info.LastGeneratedID); ok && !last.After(now.Add(Skew)) {
			latest = later(latest, last)
		}
	}
	return latest, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
