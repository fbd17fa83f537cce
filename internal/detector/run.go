package detector

import (
	"context"
	"errors"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// stopTimeout bounds what is done after the last batch.
const stopTimeout = 5 * time.Second

// Run works until ctx ends, then stops in order: no new reads, the batch being
// handled finished and acknowledged, enforcement events published, everything closed.
// When kill ends it stops at once. It also stops, with [ErrServer], when the server of
// metrics and health fails. An error says what was left undone, which will be
// delivered again.
func (d *Detector) Run(ctx, kill context.Context) error {
	defer context.AfterFunc(kill, d.consumer.Kill)()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d.startServer(fail)
	d.startBackground(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, func() { d.stopping.Store(true) })()

	err := d.consumer.Run(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, ErrServer) {
		err = errors.Join(cause, err)
	}
	stop, cancel := context.WithTimeout(kill, stopTimeout)
	defer cancel()
	return errors.Join(err, d.cleanups.run(stop))
}

// startBackground starts what runs beside the consumer until the clean-ups run.
func (d *Detector) startBackground(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var running conc.WaitGroup
	running.Go(func() { d.reconciler.Run(ctx) })
	if d.lease != nil {
		running.Go(func() { d.lease.Keep(ctx) })
	}
	running.Go(func() { d.watch.Run(ctx) })
	running.Go(func() { publishSettings(ctx, d.cfg, d.stores.Clients.Ops, d.log) })
	running.Go(func() { warnContradictions(ctx, d.stores, d.log) })
	running.Go(func() {
		d.uncounted.Run(ctx, d.stores.Clients.Ops, rediskey.Keys{Prefix: d.cfg.KeyPrefix}.Uncounted(d.cfg.Stream.Consumer))
	})
	d.cleanups.add("background work", func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}
