package detector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// clockSkew is how far the clock that makes entry IDs may be ahead of the worker's
// before Redis is asked for its time.
const clockSkew = time.Second

// A streamClock tells the time by the clock that makes the IDs of a stream's entries.
type streamClock interface {
	Time(ctx context.Context, stream string) (time.Time, error)
}

// timeScript asks the node that has a stream for its time.
//
//	KEYS: the stream
//	ARGV: none
//	Result: seconds and microseconds, as TIME
//	Cost: O(1)
var timeScript = redis.NewScript(`return redis.call('TIME')`)

var errTime = errors.New("the reply is not a time")

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
