package tiered_test

import (
	"context"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// interrupted is Postgres, with something else happening at a chosen point,
// once.
type interrupted struct {
	*pgstore.Blocks

	afterPut, beforeUnblock, afterUnblock, afterEach func()
}

func once(f *func()) {
	if run := *f; run != nil {
		*f = nil
		run()
	}
}

func (i *interrupted) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	results, err := i.Blocks.Put(ctx, puts)
	once(&i.afterPut)
	return results, err
}

func (i *interrupted) Unblock(ctx context.Context, r store.Revocation) ([]checker.Block, error) {
	once(&i.beforeUnblock)
	blocks, err := i.Blocks.Unblock(ctx, r)
	once(&i.afterUnblock)
	return blocks, err
}

func (i *interrupted) Each(ctx context.Context, fn func(checker.Block) error) error {
	err := i.Blocks.Each(ctx, fn)
	once(&i.afterEach)
	return err
}

// interruptedRig is a rig whose blocks go through i. Other is another process
// on the same stores, without interruptions.
func interruptedRig(t *testing.T) (r *rig, i *interrupted, other *tiered.Blocks) {
	t.Helper()
	env, pg := testenv.Redis(t), testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	cache := newCache(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	durable := newDurable(t, pg.Pool, pgstore.Options{})
	i = &interrupted{Blocks: durable}
	r = &rig{
		Blocks: tiered.New(cache, i, tiered.Options{}), cache: cache, durable: durable,
		client: env.Client, prefix: env.Prefix, keys: rediskey.Keys{Prefix: env.Prefix},
	}
	other = tiered.New(cache, durable, tiered.Options{})
	warm(t, other)
	return r, i, other
}

// rebuildAll is what a reconciler does when the hash is stale.
func rebuildAll(t *testing.T, r *rig) {
	t.Helper()
	ctx := context.Background()
	if _, err := r.cache.Rebuild(ctx, r.durable.Each); err != nil {
		t.Error(err)
	}
	var blocks []checker.Block
	if err := r.durable.Each(ctx, func(b checker.Block) error { blocks = append(blocks, b); return nil }); err != nil {
		t.Error(err)
	}
	if err := r.cache.Refresh(ctx, blocks); err != nil {
		t.Error(err)
	}
}

// TestUnblockBetweenTheTiers: the block is committed, then an operator unblocks
// the scope, then the worker comes to write the copy.
func TestUnblockBetweenTheTiers(t *testing.T) {
	t.Parallel()
	r, i, other := interruptedRig(t)
	i.afterPut = func() { unblock(t, other, "0") }
	put(t, r, block(user("0"), "a", true), store.Unblocked)
	agree(t, r, 1)
	if got := blocked(t, r, "0"); got[0] != "" {
		t.Errorf("blocked by %q", got)
	}
}

// TestLaterMatchBetweenTheTiers: as before, but the match found an older block,
// and is itself later than the unblock: it blocks.
func TestLaterMatchBetweenTheTiers(t *testing.T) {
	t.Parallel()
	r, i, other := interruptedRig(t)
	old := block(user("0"), "old", true)
	put(t, other, old, store.Began)
	r.drop(t, r.keys.Permanent()) // or the match would be known to change nothing
	i.afterPut = func() { unblock(t, other, "0") }
	later := block(user("0"), "later", true)
	later.EvidenceTime = later.EvidenceTime.Add(time.Minute)
	put(t, r, later, store.Began)
	if got := blocked(t, r, "0"); got[0] != "later" {
		t.Errorf("blocked by %q", got)
	}
	if got := blocked(t, r.durable, "0"); got[0] != "later" {
		t.Errorf("in Postgres blocked by %q", got)
	}
}

// TestChangesDuringRebuild: what changes after Postgres was read is not what
// the hash says in the end.
func TestChangesDuringRebuild(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, other *tiered.Blocks){
		"block": func(t *testing.T, other *tiered.Blocks) {
			t.Helper()
			put(t, other, block(user("1"), "b", true), store.Began)
		},
		"unblock": func(t *testing.T, other *tiered.Blocks) { t.Helper(); unblock(t, other, "0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, i, other := interruptedRig(t)
			put(t, other, block(user("0"), "a", true), store.Began)
			r.drop(t, r.keys.Permanent())
			i.afterEach = func() { change(t, other) }
			if report := reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})); report.Change != tiered.Rebuilt {
				t.Errorf("report %+v", report)
			}
			agree(t, r, 2)
		})
	}
}

// TestUnblockDuringRefresh: the copy of a block that was read before it was
// unblocked isn't written.
func TestUnblockDuringRefresh(t *testing.T) {
	t.Parallel()
	r, i, other := interruptedRig(t)
	put(t, other, block(user("0"), "a", true), store.Began)
	r.drop(t, r.keys.Permanent())
	i.afterEach = func() { // the rebuild's reading; the next is the refresh's
		i.afterEach = func() { unblock(t, other, "0") }
	}
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	agree(t, r, 1)
}

// TestReconcilerDuringUnblock: a reconciler that reads just before, or just
// after, Postgres revokes the block doesn't bring it back.
func TestReconcilerDuringUnblock(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			r, i, other := interruptedRig(t)
			put(t, other, block(user("0"), "a", true), store.Began)
			if when == "before" {
				i.beforeUnblock = func() { rebuildAll(t, r) }
			} else {
				i.afterUnblock = func() { rebuildAll(t, r) }
			}
			unblock(t, r, "0")
			agree(t, r, 1)
			if got := blocked(t, r, "0"); got[0] != "" {
				t.Errorf("blocked by %q", got)
			}
		})
	}
}

// TestLaterBlockDuringUnblock: the scope is unblocked in Postgres, then it is blocked by a match
// later than the unblock, or by an operator, then the unblock comes to Redis: it is blocked, in
// both. When the block says it was created does not matter: that is by its creator's clock.
func TestLaterBlockDuringUnblock(t *testing.T) {
	t.Parallel()
	for clock, offset := range map[string]time.Duration{"a clock ahead": time.Minute, "the same clock": 0, "a clock behind": -time.Minute} {
		for by, evidence := range map[string]func(time.Time) time.Time{
			"match":    func(now time.Time) time.Time { return now.Add(time.Minute) },
			"operator": func(time.Time) time.Time { return time.Time{} },
		} {
			t.Run(by+" with "+clock, func(t *testing.T) {
				t.Parallel()
				r, i, other := interruptedRig(t)
				put(t, other, block(user("0"), "old", true), store.Began)
				i.afterUnblock = func() {
					r.drop(t, r.keys.Permanent()) // or the match would be known to change nothing
					later := block(user("0"), "later", true)
					later.EvidenceTime = evidence(later.EvidenceTime)
					later.Block.CreatedAt = later.Block.CreatedAt.Add(offset)
					put(t, other, later, store.Began)
					warm(t, other)
				}
				unblock(t, r, "0")
				agree(t, r, 1)
				for name, lookup := range map[string]checker.Lookup{"both": r, "Postgres": r.durable, "Redis": r.cache} {
					if got := blocked(t, lookup, "0"); got[0] != "later" {
						t.Errorf("%s: blocked by %q", name, got)
					}
				}
			})
		}
	}
}
