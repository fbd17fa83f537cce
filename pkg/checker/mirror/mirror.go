// Package mirror is a [checker.Lookup] that answers from memory: a replica of the active blocks in
// Redis, kept current by the stream of changes that detectors write. Requests of clients that aren't blocked
// cost no round trip: see [Mirror.Clean].
//
// A snapshot is taken from a place in the stream that was noted before, and later changes are
// applied to it, so none falls between. A change names scopes, and the mirror looks them up as a
// redislookup.Lookup does: its answers are those of the look-up by construction, but for the time it
// takes to hear of a change. What might have been missed (a gap in the stream, a new epoch, a stream or a
// membership hash that went away) causes a new snapshot, and meanwhile Redis is asked.
//
// The mirror answers by itself while it knows that it is current: see [WithMaxStaleness]. Otherwise each
// look-up asks Redis once, and if that fails, too, the blocks that the mirror knows are returned along with the error.
package mirror

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// A State says what a mirror is about.
type State string

// The states of a mirror. It answers by itself only when it is Following.
const (
	Starting  State = "starting"  // a snapshot is being taken, and there is none to go by
	Following State = "following" // the stream of changes
	Stale     State = "stale"     // it follows, but heard nothing for longer than it may
	Cold      State = "cold"      // the membership hash of permanent blocks is missing or incomplete
	Overfull  State = "overfull"  // there are more blocks than it may keep
)

// A Mirror finds blocks in memory. It is safe for concurrent use. [Mirror.Run] has to be running for it to
// be more than a redislookup.Lookup.
type Mirror struct {
	client     redis.UniversalClient
	keys       rediskey.Keys
	permanent  bool
	cold       checker.Lookup
	maxStale   time.Duration
	every      time.Duration
	maxEntries int
	confirm    bool
	onState    func(State, error)
	now        func() time.Time

	remote *redislookup.Lookup // answers in place of the mirror
	reader *redislookup.Lookup // reads what changed: by Redis's clock, Redis alone
	seed   maphash.Seed

	running   atomic.Bool
	view      atomic.Pointer[view]
	base      time.Time // proof counts from here
	elapsed   func() time.Duration
	proof     atomic.Int64 // when the view was last known to be current, in ns since base
	offset    atomic.Int64 // of Redis's clock from ours, in µs
	snapshots atomic.Int64
	gaps      atomic.Int64
	took      atomic.Int64 // the last snapshot, in ns
}

// A view is what look-ups see.
type view struct {
	*replica

	state State
}

// live reports whether the view is kept current.
func (v *view) live() bool { return v.state == Following || v.state == Cold }

// New returns a Mirror of the blocks behind client, whose owner closes it. Client should be one of
// redislookup.Connect's. Reading the stream of changes takes a connection of its pool.
func New(client redis.UniversalClient, opts ...Option) *Mirror {
	m := &Mirror{
		client: client, keys: rediskey.Keys{Prefix: rediskey.DefaultPrefix}, maxStale: DefaultMaxStaleness, every: DefaultReconcile,
		maxEntries: DefaultMaxEntries, onState: func(State, error) {}, now: time.Now, seed: maphash.MakeSeed(),
	}
	for _, opt := range opts {
		opt(m)
	}
	common := []redislookup.Option{redislookup.WithKeyPrefix(m.keys.Prefix)}
	m.reader = redislookup.New(client, append(common, redislookup.WithClock(m.redisTime))...)
	common = append(common, redislookup.WithClock(m.now))
	if m.permanent {
		common = append(common, redislookup.WithPermanentTier())
	}
	if m.cold != nil {
		common = append(common, redislookup.WithColdLookup(m.cold))
	}
	m.remote = redislookup.New(client, common...)
	m.base = m.now()
	if m.elapsed == nil {
		m.elapsed = func() time.Duration { return time.Since(m.base) } // half of what time.Now costs
	}
	m.proof.Store(math.MinInt64)
	m.view.Store(&view{replica: newReplica(), state: Starting})
	return m
}

// Clean reports, from memory and at once, that nothing of s is blocked, as s.Path and Redis have it. False means: ask
// Lookup. It takes no lock and allocates nothing.
func (m *Mirror) Clean(s checker.Subject) bool {
	v := m.view.Load()
	return m.trusts(v) && v.clean(&s)
}

// Lookup implements [checker.Lookup]. An address is also blocked by the ranges that contain it; such a block's scope
// is the range. Blocks that come from memory have no Metadata.
func (m *Mirror) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	v := m.view.Load()
	known, ask := v.find(scopes, m.redisTime().UnixMicro())
	trusted := m.trusts(v) && !ask
	if trusted && (len(known) == 0 || !m.confirm) {
		return known, nil
	}
	blocks, err := m.remote.Lookup(ctx, with(scopes, known))
	if err == nil {
		return blocks, nil
	}
	for _, b := range known {
		if !slices.ContainsFunc(blocks, func(o checker.Block) bool { return o.Scope == b.Scope }) {
			blocks = append(blocks, b)
		}
	}
	if trusted {
		return blocks, nil
	}
	return blocks, fmt.Errorf("look past the mirror: %w", err)
}

// Known returns the blocks of scopes that are known from memory, however stale: what is left to go by when Redis can't
// be asked.
func (m *Mirror) Known(scopes []checker.Scope) []checker.Block {
	known, _ := m.view.Load().find(scopes, m.redisTime().UnixMicro())
	return known
}

// with adds the scopes of known, which may be ranges, to scopes.
func with(scopes []checker.Scope, known []checker.Block) []checker.Scope {
	all := slices.Clip(scopes)
	for _, b := range known {
		if !slices.Contains(all, b.Scope) {
			all = append(all, b.Scope)
		}
	}
	return all
}

// HonoursDeadline reports whether Lookup returns by its context's deadline, as redislookup's does.
func (m *Mirror) HonoursDeadline() bool { return m.remote.HonoursDeadline() }

// trusts reports whether v may answer alone.
func (m *Mirror) trusts(v *view) bool {
	return v.state == Following && m.Staleness() <= m.maxStale
}

// Staleness is how long ago the mirror last knew that it had all changes, by the monotonic clock. Before
// the first snapshot that is forever.
func (m *Mirror) Staleness() time.Duration {
	proof := m.proof.Load()
	if proof == math.MinInt64 {
		return math.MaxInt64
	}
	return m.elapsed() - time.Duration(proof)
}

// proved notes that the view was current at the moment at.
func (m *Mirror) proved(at time.Time) { m.proof.Store(int64(at.Sub(m.base))) }

// redisTime is what Redis's clock shows.
func (m *Mirror) redisTime() time.Time {
	return m.now().Add(time.Duration(m.offset.Load()) * time.Microsecond)
}

// A Status describes a mirror at one moment, for metrics.
type Status struct {
	State     State
	Blocks    int           // kept, those that ended since the last snapshot included
	Staleness time.Duration // see Mirror.Staleness
	Offset    time.Duration // by which Redis's clock is ahead of ours
	Snapshots int64         // taken so far
	Gaps      int64         // found so far in the stream of changes
	Took      time.Duration // the last snapshot
}

// Status describes the mirror.
func (m *Mirror) Status() Status {
	v := m.view.Load()
	s := Status{
		State: v.state, Blocks: v.size(), Staleness: m.Staleness(), Offset: time.Duration(m.offset.Load()) * time.Microsecond,
		Snapshots: m.snapshots.Load(), Gaps: m.gaps.Load(), Took: time.Duration(m.took.Load()),
	}
	if s.State == Following && s.Staleness > m.maxStale {
		s.State = Stale
	}
	return s
}

// become shows r in a state, and says so if that is another one.
func (m *Mirror) become(r *replica, state State, why error) {
	old := m.view.Swap(&view{replica: r, state: state})
	if old.state != state || why != nil {
		m.onState(state, why)
	}
}
