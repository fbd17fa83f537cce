package consumer

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffCap   = time.Second // soon enough after an election that nobody waits for a block

	// outagePause is how long to wait between attempts to read from a server that is gone: trying
	// costs little, and the stream should be read again as soon as it can be.
	outagePause = 100 * time.Millisecond

	// complainEvery is how often the log says that reading fails still.
	complainEvery = 5 * time.Second
)

// backoff returns how long to wait after the attempt-th failure in a row, which
// is 1 for the first: half of an exponentially growing time, plus up to as much again by
// chance, so that workers that failed together don't come back together.
func backoff(attempt int) time.Duration {
	d := backoffCap
	if shift := attempt - 1; shift < 5 { // 50 ms · 2⁵ is past the cap
		d = backoffFirst << max(shift, 0)
	}
	return jitter(d)
}

// jitter returns between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
