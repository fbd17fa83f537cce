package detector

import (
	"context"
	"time"
)

// A streamClock reads the clock that makes the IDs of a stream's entries.
type streamClock interface {
	Time(ctx context.Context, stream string) (time.Time, error)
}
