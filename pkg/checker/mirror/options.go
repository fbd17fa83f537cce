package mirror

import (
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// Defaults of the options.
const (
	DefaultMaxStaleness = 3 * time.Second
	DefaultReconcile    = time.Minute
	DefaultMaxEntries   = 500_000
)

// An Option configures a [Mirror].
type Option func(*Mirror)

// WithKeyPrefix sets the prefix of all keys, "wardstream" by default. It must be the detectors'
// key_prefix.
func WithKeyPrefix(prefix string) Option {
	return func(m *Mirror) {
		if prefix != "" {
			m.keys.Prefix = prefix
		}
	}
}

// WithPermanentTier declares that the detectors keep permanent blocks in Postgres. While the
// membership hash is missing or incomplete, every look-up then asks Redis and returns
// redislookup.ErrCold. Without the option such a hash counts as empty.
func WithPermanentTier() Option { return func(m *Mirror) { m.permanent = true } }

// WithColdLookup looks permanent blocks up in cold, usually a pglookup.Lookup, while the membership
// hash is missing or incomplete. It implies [WithPermanentTier].
func WithColdLookup(cold checker.Lookup) Option { return func(m *Mirror) { m.cold = cold } }

// WithMaxStaleness sets how long after it was last known to be current the mirror may answer from
// memory. The default is [DefaultMaxStaleness] and the minimum is 2 s, since without changes the
// mirror verifies twice a second that it is current.
func WithMaxStaleness(d time.Duration) Option {
	return func(m *Mirror) {
		if d > 0 {
			m.maxStale = max(d, 2*time.Second)
		}
	}
}

// WithReconcile sets the interval, plus or minus a fifth, between regular snapshots. The default is
// [DefaultReconcile]. If snapshots take long the interval is longer: at least 50 times their
// duration.
func WithReconcile(every time.Duration) Option {
	return func(m *Mirror) {
		if every > 0 {
			m.every = every
		}
	}
}

// WithMaxEntries bounds the blocks in memory. The default is [DefaultMaxEntries]. If there are
// more, the mirror holds none, is in state [Overfull], and every look-up asks Redis until a later
// snapshot finds fewer.
func WithMaxEntries(n int) Option {
	return func(m *Mirror) {
		if n > 0 {
			m.maxEntries = n
		}
	}
}

// WithConfirm confirms every block found in memory by a look-up in Redis, so that an unblock takes
// effect at once instead of milliseconds later, or, if the connection is lost, after the maximum
// staleness. Each request of a blocked client then costs a round trip. If Redis does not answer,
// the block from memory is enforced.
func WithConfirm() Option { return func(m *Mirror) { m.confirm = true } }

// WithOnState calls h on every change of state and on every failure that Run recovers from. err is
// the reason, nil if there is no failure. h runs on Run's goroutine and should return quickly; log
// in it.
func WithOnState(h func(state State, err error)) Option {
	return func(m *Mirror) { m.onState = h }
}

// WithClock replaces [time.Now].
func WithClock(now func() time.Time) Option {
	return func(m *Mirror) {
		m.now, m.elapsed = now, func() time.Duration { return now().Sub(m.base) }
	}
}
