// Package mirror is a [checker.Lookup] that answers from memory. It keeps a replica of the active
// blocks in Redis, updated from the stream of changes that detectors write, so that requests of
// clients that are not blocked need no round trip: see [Mirror.Clean].
//
// The mirror notes its position in the stream, takes a snapshot, and then applies the changes after
// that position, so that it misses none. A change names scopes; the mirror reads their blocks like
// a redislookup.Lookup, so its answers are the same, delayed by the time a change takes to arrive.
// If changes may have been missed (a gap in the stream, a new epoch, a stream or membership hash
// that disappeared) it takes a new snapshot and asks Redis until that is done.
//
// The mirror answers from memory only while it is known to be current: see [WithMaxStaleness].
// Otherwise each look-up asks Redis once. If that fails too, the blocks known from memory are
// returned along with the error.
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

// A State is the state of a mirror.
type State string

// The states of a mirror. It answers from memory only while it is Following.
const (
	Starting  State = "starting"  // the first snapshot, or one after a failure, is being taken
	Following State = "following" // it follows the stream of changes
	Stale     State = "stale"     // it follows, but has not been current for longer than allowed
	Cold      State = "cold"      // the membership hash of permanent blocks is missing or incomplete
	Overfull  State = "overfull"  // there are more blocks than it may hold
)

// A Mirror finds blocks in memory while [Mirror.Run] is running, and asks Redis otherwise. It is
// safe for concurrent use.
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

	remote *redislookup.Lookup // answers while the mirror cannot
	reader *redislookup.Lookup // reads changed blocks: by Redis's clock, without the cold look-up
	seed   maphash.Seed

	running   atomic.Bool
	view      atomic.Pointer[view]
	base      time.Time // the zero of proof
	elapsed   func() time.Duration
	proof     atomic.Int64 // when the view was last known to be current, in ns since base
	offset    atomic.Int64 // of Redis's clock to ours, in µs
	snapshots atomic.Int64
	gaps      atomic.Int64
	took      atomic.Int64 // the last snapshot, in ns
}

// A view is the replica and state that look-ups use. It is replaced as a whole.
type view struct {
	*replica

	state State
}

// live reports whether changes are applied to the view.
func (v *view) live() bool { return v.state == Following || v.state == Cold }

// New returns a Mirror of the blocks in client's Redis. The caller closes the client, which should
// be made by redislookup.Connect. Reading the stream of changes occupies one connection of its
// pool.
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

// Clean reports whether it is certain, from memory, that nothing of s is blocked. False means that
// Lookup must be asked. It takes no lock and does not allocate.
func (m *Mirror) Clean(s checker.Subject) bool {
	v := m.view.Load()
	return m.trusts(v) && v.clean(&s)
}

// Lookup implements [checker.Lookup]. An address is also blocked by the ranges that contain it; the
// Scope of such a block is the range. Blocks from memory have no Metadata.
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

// Known returns the blocks of scopes from memory, however stale. Checkers use it while Redis does
// not answer.
func (m *Mirror) Known(scopes []checker.Scope) []checker.Block {
	known, _ := m.view.Load().find(scopes, m.redisTime().UnixMicro())
	return known
}

// with returns scopes and the scopes of known, which may be ranges.
func with(scopes []checker.Scope, known []checker.Block) []checker.Scope {
	all := slices.Clip(scopes)
	for _, b := range known {
		if !slices.Contains(all, b.Scope) {
			all = append(all, b.Scope)
		}
	}
	return all
}

// HonoursDeadline reports whether Lookup returns by its context's deadline; see redislookup's
// method.
func (m *Mirror) HonoursDeadline() bool { return m.remote.HonoursDeadline() }

// trusts reports whether v may answer without Redis.
func (m *Mirror) trusts(v *view) bool {
	return v.state == Following && m.Staleness() <= m.maxStale
}

// Staleness returns the time since the mirror was last known to have all changes, by the monotonic
// clock; the maximum Duration before the first snapshot.
func (m *Mirror) Staleness() time.Duration {
	proof := m.proof.Load()
	if proof == math.MinInt64 {
		return math.MaxInt64
	}
	return m.elapsed() - time.Duration(proof)
}

// proved records that the view was current at the given time.
func (m *Mirror) proved(at time.Time) { m.proof.Store(int64(at.Sub(m.base))) }

// redisTime returns the current time by Redis's clock.
func (m *Mirror) redisTime() time.Time {
	return m.now().Add(time.Duration(m.offset.Load()) * time.Microsecond)
}

// A Status describes a mirror for metrics.
type Status struct {
	State     State
	Blocks    int           // held, including those that expired since the last snapshot
	Staleness time.Duration // see Mirror.Staleness
	Offset    time.Duration // by which Redis's clock is ahead of ours
	Snapshots int64         // taken so far
	Gaps      int64         // found so far in the stream of changes
	Took      time.Duration // duration of the last snapshot
}

// Status returns the current status.
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

// become replaces the view, and calls the hook of [WithOnState] if the state changed or why is set.
func (m *Mirror) become(r *replica, state State, why error) {
	old := m.view.Swap(&view{replica: r, state: state})
	if old.state != state || why != nil {
		m.onState(state, why)
	}
}
