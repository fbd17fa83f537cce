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

// An Option changes how a [Mirror] works.
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

// WithPermanentTier says that the detectors keep permanent blocks in Postgres. While the membership
// hash is missing or incomplete the mirror then asks Redis about everything, and the answer is
// redislookup.ErrCold. Without it such a hash counts as empty.
func WithPermanentTier() Option { return func(m *Mirror) { m.permanent = true } }

// WithColdLookup is WithPermanentTier with somebody to ask, usually a pglookup.Lookup, for the
// permanent blocks while the membership hash is missing or incomplete.
func WithColdLookup(cold checker.Lookup) Option { return func(m *Mirror) { m.cold = cold } }

// WithMaxStaleness sets how long ago the mirror may have last known that it is up to date, for it to answer by
// itself; [DefaultMaxStaleness]. Half a second passes between two looks where nothing happens, so 2 s is the least.
func WithMaxStaleness(d time.Duration) Option {
	return func(m *Mirror) {
		if d > 0 {
			m.maxStale = max(d, 2*time.Second)
		}
	}
}

// WithReconcile sets how often, give or take a fifth, a new snapshot is taken though nothing seems
// amiss; [DefaultReconcile]. However long snapshots take, they are under way for a fiftieth of the time at most.
func WithReconcile(every time.Duration) Option {
	return func(m *Mirror) {
		if every > 0 {
			m.every = every
		}
	}
}

// WithMaxEntries bounds the blocks that are kept; [DefaultMaxEntries]. If there are more the mirror keeps none and
// asks Redis about everything, in the state [Overfull], until a later snapshot finds fewer.
func WithMaxEntries(n int) Option {
	return func(m *Mirror) {
		if n > 0 {
			m.maxEntries = n
		}
	}
}

// WithConfirm has every hit confirmed by one look-up in Redis, so that an unblock acts at once and not
// when the mirror hears of it, some milliseconds later or, should it be cut off, after the bound of its staleness.
// Blocked clients then cost a round trip each. If Redis doesn't answer, the mirror is believed.
func WithConfirm() Option { return func(m *Mirror) { m.confirm = true } }

// WithOnState has h hear of every change of state, and of every failure that Run rides out in a state; err says
// why, nil that all is well. It is called by Run's goroutine, so it should be quick: log it.
func WithOnState(h func(state State, err error)) Option {
	return func(m *Mirror) { m.onState = h }
}

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option {
	return func(m *Mirror) {
		m.now, m.elapsed = now, func() time.Duration { return now().Sub(m.base) }
	}
}
