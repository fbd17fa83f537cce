package chaos

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// stepsClock is the fault that needs a server whose clock can be set.
const stepsClock = "redis clock steps"

// clockFault has Redis' clock step, back by minutes, forward by minutes, and back to what all other
// clocks show. Entries published after a step back have the time of the last one before it. Workers
// end with entries in flight that were delivered in the future, since Postgres' table is locked,
// and others have to claim them.
func clockFault() fault {
	return fault{name: stepsClock, alone: true, do: func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
		w.publishing.Lock()
		w.staged, w.ahead = nil, true // a login success may seem to be before the failures that it is to clear
		w.oracle.uneven = true
		w.publishing.Unlock()
		tx, err := w.postgres.Pool.Begin(ctx)
		if err != nil {
			return nil, err
		}
		defer tx.Rollback(context.Background())
		for _, off := range []time.Duration{-between(r, 2*time.Minute, maxStep), between(r, 2*time.Minute, maxStep)} {
			w.line.add("the clock of Redis is %s off", off)
			if err := w.redis.StepClock(off); err != nil {
				return nil, err
			}
			wait(between(r, 50*time.Millisecond, 600*time.Millisecond))
			if _, err := tx.Exec(ctx, "LOCK TABLE permanent_blocks"); err != nil {
				return nil, err
			}
		}
		wait(200 * time.Millisecond)
		for _, d := range w.running() {
			w.line.add("%s gets killed", d.name)
			d.End(syscall.SIGKILL)
			w.replace(d, w.newName())
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
