package chaos

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// clockFault has Redis' clock step, back by minutes, forward by minutes, and back to what everybody else's shows.
// Workers end in between, so that what is pending for them was delivered in the future. Entries published after a step
// back have the time of the last one before it.
func clockFault() fault {
	return fault{name: "redis clock steps", alone: true, do: func(_ context.Context, w *world, r *rand.Rand) (func() error, error) {
		w.publishing.Lock()
		w.staged, w.ahead = nil, true // a login success may seem to be before the failures that it is to clear
		w.publishing.Unlock()
		for _, off := range []time.Duration{-between(r, 2*time.Minute, maxStep), between(r, 2*time.Minute, maxStep)} {
			w.line.add("the clock of Redis is %s off", off)
			if err := w.redis.StepClock(off); err != nil {
				return nil, err
			}
			wait(between(r, 50*time.Millisecond, 600*time.Millisecond))
			if r.IntN(2) == 0 {
				w.endSome(r, syscall.SIGKILL)
			}
		}
		return func() error { return w.redis.StepClock(0) }, nil
	}}
}

// renew does what the pages say is to be done about a stream whose last ID lies in the future.
func (w *world) renew(ctx context.Context) {
	old := stream + ":old"
	_, err := w.client().TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Rename(ctx, stream, old)
		p.Expire(ctx, old, time.Hour)
		return nil
	})
	if err != nil {
		w.fail("%v", err)
	}
	w.ahead = false
}
