package detector

import (
	"errors"
	"fmt"
	"time"
)

// stuckAfter is how long a read loop may go without beginning a step before the
// worker counts as dead. The batch it handles may take the grace period.
const stuckAfter = 2 * time.Minute

var (
	errStuck    = errors.New("a read loop makes no progress")
	errNotYet   = errors.New("not all streams have been joined")
	errStopping = errors.New("stopping")
	errReplica  = errors.New("Redis is a replica, which takes no writes; let redis.url lead to the primary")
)

// Alive implements health.
func (d *Detector) Alive() error {
	for _, h := range d.consumer.Health() {
		if !h.Progress.IsZero() && d.now().Sub(h.Progress) > stuckAfter {
			return fmt.Errorf("%s: %w", h.Stream, errStuck)
		}
	}
	return nil
}

// Ready implements health.
func (d *Detector) Ready() error {
	if d.stopping.Load() {
		return errStopping
	}
	if server, ok := d.watch.Server(); ok && server.Replica {
		return errReplica
	}
	for _, h := range d.consumer.Health() {
		if !h.Joined {
			return fmt.Errorf("%s: %w", h.Stream, errNotYet)
		}
	}
	return nil
}
