package detector

import (
	"context"
	"errors"
	"fmt"

	"github.com/wardstream/wardstream/internal/consumer"
)

// nameConsumer takes a consumer name that no other live process of the group has. The
// host's name is made unique, so that any number of workers may run on a host; a name that
// was chosen is refused if another worker has it. If Redis does not let that be checked
// the worker starts all the same.
func (d *Detector) nameConsumer(ctx context.Context) error {
	s := d.cfg.Stream
	lease, err := consumer.Acquire(ctx, consumer.LeaseOptions{
		Client: d.stores.Clients.Ops, Prefix: d.cfg.KeyPrefix, Group: s.Group, Name: s.Consumer, Unique: d.cfg.NamedByHost(), Logger: d.log,
	})
	switch {
	case errors.Is(err, consumer.ErrNameInUse):
		return fmt.Errorf("stream.consumer %s is already in use by another worker of group %s: pass --consumer to choose another", s.Consumer, s.Group)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		d.log.WarnContext(ctx, "whether another worker has this one's consumer name is not known; entries may be handled twice if one has",
			"consumer", s.Consumer, "error", err)
		return nil
	}
	d.lease = lease
	d.cleanups.add("consumer name", func(context.Context) error {
		lease.Release(context.Background()) // has a timeout of its own, and must be tried after a kill, too
		return nil
	})
	if lease.Name != s.Consumer {
		d.log.InfoContext(ctx, "another worker has the host's name as its consumer name; this one has a name of its own",
			"default", s.Consumer, "consumer", lease.Name)
	}
	return nil
}

// consumerName is this process's name in the group.
func (d *Detector) consumerName() string {
	if d.lease != nil {
		return d.lease.Name
	}
	return d.cfg.Stream.Consumer
}
