package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

const (
	glanceEvery  = time.Second // under continuous changes; otherwise after every read without any
	lookupChunk  = 500         // scopes
	pauseAtFirst = 50 * time.Millisecond
	pauseAtMost  = time.Second
	dutyCycle    = 50 // at most one part in 50 of the time is spent on snapshots
)

var (
	// errRunning is returned by a second Run.
	errRunning = errors.New("mirror is already running")
	// errGap means that changes may have been missed.
	errGap = errors.New("changes were missed")
	// errMany means that the mirror holds too many blocks, expired ones included.
	errMany = errors.New("the mirror is full")
	// errAnything means that a detector announced that any block may have changed.
	errAnything = errors.New("permanent blocks were reloaded")
)

// Run keeps the mirror current until ctx is done, and then returns nil within half a second. It
// recovers from every failure of Redis. It returns an error, at once, only if the mirror is already
// running, its key prefix is invalid, or its client is neither a *redis.Client nor a
// *redis.ClusterClient.
func (m *Mirror) Run(ctx context.Context) error {
	if err := rediskey.CheckPrefix(m.keys.Prefix); err != nil {
		return fmt.Errorf("run mirror: %w", err)
	}
	switch m.client.(type) {
	case *redis.Client, *redis.ClusterClient:
	default:
		return fmt.Errorf("run mirror: %w", errClient)
	}
	if !m.running.CompareAndSwap(false, true) {
		return fmt.Errorf("run mirror: %w", errRunning)
	}
	defer m.running.Store(false)
	pause := pauseAtFirst
	for ctx.Err() == nil {
		before := m.snapshots.Load()
		err := m.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if pause = min(2*pause, pauseAtMost); m.snapshots.Load() > before {
			pause = pauseAtFirst
		}
		if errors.Is(err, errGap) {
			m.gaps.Add(1)
		}
		wait := jitter(pause)
		if errors.Is(err, errOverfull) {
			wait = jitter(m.every)
			m.become(newReplica(), Overfull, err)
		} else {
			m.become(m.view.Load().replica, Starting, err)
		}
		sleep(ctx, wait)
	}
	m.become(m.view.Load().replica, Starting, nil)
	return nil
}

// jitter returns d plus or minus up to a fifth, so that mirrors do not act in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// follow takes a snapshot and applies changes until a new snapshot is needed, which its error
// explains.
func (m *Mirror) follow(ctx context.Context) error {
	at, err := m.end(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{m: m, feed: feed{client: m.client, keys: m.keys, at: at}}
	defer f.leave()
	defer cancel()
	f.begin(ctx)
	for ctx.Err() == nil {
		if err := f.turn(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A follower follows the stream from the start of a snapshot up to a gap.
type follower struct {
	feed

	m       *Mirror
	glanced time.Time
	next    time.Time // when the next snapshot is due; zero while one is being taken
	failed  int       // consecutive turns

	taken chan taken // receives the snapshot being taken; nil if there is none
	// touched are the scopes that changed since the snapshot started: it may hold their old or new
	// state.
	touched map[checker.Scope]struct{}
}

type taken struct {
	r   *replica
	err error
}

// begin starts a snapshot at the feed's current position.
func (f *follower) begin(ctx context.Context) {
	f.taken, f.touched, f.next = make(chan taken, 1), map[checker.Scope]struct{}{}, time.Time{}
	done, old := f.taken, f.m.view.Load().replica
	go func() {
		r, err := f.m.takeSnapshot(ctx, old)
		done <- taken{r, err}
	}()
}

// leave ends the follower, whose context is done, and waits for a snapshot in progress.
func (f *follower) leave() {
	f.close()
	if f.taken != nil {
		<-f.taken
	}
}

// turn reads the stream once and applies the changes. It reports failures of Redis to the hook and
// continues: the view remains usable until it is stale. An error means that a new snapshot is
// needed.
func (f *follower) turn(ctx context.Context) error {
	block := blockFor
	if f.taken != nil {
		block = blockShort
	}
	err := f.step(ctx, block)
	if err == nil {
		err = f.snapshot(ctx)
	}
	if err == nil || hopeless(err) || ctx.Err() != nil {
		f.failed = 0
		return err
	}
	f.failed++
	f.m.onState(f.m.Status().State, err)
	sleep(ctx, jitter(min(pauseAtFirst<<min(f.failed, 10), pauseAtMost)))
	return nil
}

func hopeless(err error) bool {
	for _, e := range []error{errGap, errAnything, errMoved, errMany, errOverfull} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// step reads the stream and applies the changes. Reading up to the end proves that the mirror is
// current.
func (f *follower) step(ctx context.Context, block time.Duration) error {
	begin := f.m.now()
	entries, err := f.read(ctx, block)
	if err != nil {
		return err
	}
	if err := f.take(ctx, entries); err != nil {
		return err
	}
	if len(entries) > 0 && len(entries) < readCount {
		f.m.proved(begin)
	}
	if len(entries) == 0 || f.m.now().Sub(f.glanced) > glanceEvery {
		return f.look(ctx)
	}
	return nil
}

// take applies entries. If it fails the same entries are read again.
func (f *follower) take(ctx context.Context, entries []redis.XMessage) error {
	at := f.at
	scopes := map[checker.Scope]struct{}{}
	for _, e := range entries {
		c, err := wire.ReadChange(e.ID, e.Values)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", errGap, err)
		case !c.Follows(at):
			return fmt.Errorf("%w: entry %s of %s is number %d, after %d of %s", errGap, e.ID, c.At.Epoch, c.At.Seq, at.Seq, at.Epoch)
		case c.All:
			return errAnything
		}
		at = c.At
		for _, s := range c.Scopes {
			scopes[s] = struct{}{}
		}
	}
	if f.touched != nil {
		maps.Copy(f.touched, scopes)
	}
	if v := f.m.view.Load(); v.live() {
		if err := f.m.apply(ctx, v.replica, slices.Collect(maps.Keys(scopes))); err != nil {
			return err
		}
		if v.size() > f.m.maxEntries {
			return errMany
		}
	}
	f.at = at
	return nil
}

// look checks that the feed is at the end of the stream that detectors write to.
func (f *follower) look(ctx context.Context) error {
	g, err := f.m.glance(ctx)
	if err != nil {
		return err
	}
	f.glanced = g.at
	if v := f.m.view.Load(); v.live() && g.complete != v.complete {
		return errMoved
	}
	ours := f.at
	if ours.Seq == 0 {
		ours = wire.Position{} // a stream without a head has no numbered position
	}
	if g.head == ours {
		f.m.proved(g.at)
		return nil
	}
	if g.head.Epoch != ours.Epoch && ours.Seq > 0 || g.head.Seq < ours.Seq {
		return fmt.Errorf("%w: they end at number %d of %q, and we were at %d of %q", errGap, g.head.Seq, g.head.Epoch, ours.Seq, ours.Epoch)
	}
	entries, err := f.read(ctx, -1)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		f.close()
		return fmt.Errorf("%w: they end at number %d of %q, and nothing comes after our %d", errGap, g.head.Seq, g.head.Epoch, ours.Seq)
	}
	return f.take(ctx, entries)
}

// snapshot starts a snapshot that is due, and publishes one that is finished.
func (f *follower) snapshot(ctx context.Context) error {
	if f.taken == nil {
		if f.m.now().After(f.next) {
			f.begin(ctx)
		}
		return nil
	}
	select {
	case t := <-f.taken:
		return f.show(ctx, t)
	default:
		return nil
	}
}

// show publishes a snapshot to look-ups, after applying what changed while it was taken.
func (f *follower) show(ctx context.Context, t taken) error {
	touched := slices.Collect(maps.Keys(f.touched))
	f.taken, f.touched, f.next = nil, nil, f.m.now() // due again at once if it failed
	if t.err == nil {
		t.err = f.m.apply(ctx, t.r, touched)
	}
	if t.err != nil {
		return t.err
	}
	f.next = f.m.now().Add(jitter(max(f.m.every, dutyCycle*time.Duration(f.m.took.Load()))))
	t.r.shared = true
	state := Following
	if !t.r.complete && (f.m.permanent || f.m.cold != nil) {
		state = Cold
	}
	f.m.become(t.r, state, nil)
	return nil
}

// apply reads the current blocks of scopes into r.
func (m *Mirror) apply(ctx context.Context, r *replica, scopes []checker.Scope) error {
	for chunk := range slices.Chunk(scopes, lookupChunk) {
		err := m.applyChunk(ctx, r, chunk)
		if causedByValue(err) { // one of the values is corrupt: find out which
			err = m.applyEach(ctx, r, chunk)
		}
		if err != nil {
			return fmt.Errorf("read what changed: %w", err)
		}
	}
	return nil
}

func (m *Mirror) applyEach(ctx context.Context, r *replica, scopes []checker.Scope) error {
	for i := range scopes {
		err := m.applyChunk(ctx, r, scopes[i:i+1])
		if causedByValue(err) {
			r.set(scopes[i], &entry{until: unreadable})
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (m *Mirror) applyChunk(ctx context.Context, r *replica, scopes []checker.Scope) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	blocks, err := m.reader.Lookup(ctx, scopes)
	if err != nil {
		return err
	}
	found := make(map[checker.Scope]*entry, len(blocks))
	for _, b := range blocks {
		found[b.Scope] = newEntry(b, 0)
	}
	for _, s := range scopes {
		r.set(s, found[s])
	}
	return nil
}

// causedByValue reports whether a look-up failed because of a value in Redis.
func causedByValue(err error) bool {
	return errors.Is(err, redislookup.ErrCorrupt) || redis.HasErrorPrefix(err, "WRONGTYPE")
}
