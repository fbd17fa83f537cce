package detector

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/wire"
)

// A streamMoment tells the time by the entries of streams.
type streamMoment struct {
	client  redis.UniversalClient
	streams []string
}

// latest is no earlier than any event has its time by now: Redis' time, or that of the last entry, which is later where
// Redis' clock was set back. Past now, which is ours, an entry isn't believed: its time may lie in the future of everybody.
func (m streamMoment) latest(ctx context.Context, now time.Time) (time.Time, error) {
	var latest time.Time
	for _, stream := range m.streams {
		theirs, err := redisClock{m.client}.Time(ctx, stream)
		if err != nil {
			return now, err
		}
		latest = later(latest, theirs)
		info, err := m.client.XInfoStream(ctx, stream).Result()
		switch {
		case redis.HasErrorPrefix(err, "no such key"):
			continue
		case err != nil:
			return now, fmt.Errorf("look at stream: %w", err)
		}
		if last, ok := wire.EntryTime(info.LastGeneratedID); ok && !last.After(now.Add(clockSkew)) {
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
