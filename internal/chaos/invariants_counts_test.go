package chaos

import (
	"context"
	"strings"
)

// losses are what workers say of entries that are lost.
type losses struct {
	pending, unread int // entries, by cause
	unknown         int // times that there are more, in an unknown number; 1 is once or more often
}

const (
	lostTotal    = "wardstream_entries_lost_total"
	unknownTotal = "wardstream_stream_loss_unknown_total"
)

// losses reads what a worker says.
func (d *worker) losses() (losses, error) {
	values, err := d.Metrics()
	var out losses
	for series, v := range values {
		switch {
		case strings.HasPrefix(series, lostTotal+"{") && strings.Contains(series, `cause="pending"`):
			out.pending += int(v)
		case strings.HasPrefix(series, lostTotal+"{") && strings.Contains(series, `cause="unread"`):
			out.unread += int(v)
		}
	}
	out.unknown = int(values[unknownTotal])
	return out, err
}

// checkLost: what was declared lost in this round is what was lost, and the number is not reported
// as unknown where it can be known. What workers counted that are gone since is gone, too; those
// that have to count live on.
func (w *world) checkLost(_ context.Context, found *findings) error {
	var got losses
	for _, d := range w.running() {
		all, err := d.losses()
		if err != nil {
			return err
		}
		before := w.counted[d]
		got.pending += all.pending - before.pending
		got.unread += all.unread - before.unread
		got.unknown = min(got.unknown+all.unknown-before.unknown, 1)
	}
	if got != w.oracle.lost {
		found.add("workers count as lost %+v, want %+v", got, w.oracle.lost)
	}
	return nil
}

// settleLosses keeps what each worker has counted by the end of a round.
func (w *world) settleLosses() {
	counted := map[*worker]losses{}
	for _, d := range w.running() {
		all, err := d.losses()
		if err != nil {
			w.fail("%v", err)
		}
		counted[d] = all
	}
	w.counted = counted
}

// checkLag: with everything handled nothing is said to be unread, which is exact.
func (w *world) checkLag(_ context.Context, found *findings) error {
	for _, d := range w.running() {
		m, err := d.Metrics()
		if err != nil {
			return err
		}
		if lag, estimated := m["wardstream_stream_lag"], m["wardstream_stream_lag_estimated"]; lag != 0 || estimated != 0 {
			found.add("%s says that %v entries are unread (an estimate: %t), and there are none", d.name, lag, estimated != 0)
		}
	}
	return nil
}
