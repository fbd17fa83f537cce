package tiered_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// TestRedisFlushKeepsPermanentBlocks: Redis loses everything; permanent blocks hold on, and come
// back into Redis.
func TestRedisFlushKeepsPermanentBlocks(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	server := testenv.PrivateRedis(t)
	r := newRig(t, server.Client, "wardstream", pg, tiered.Options{})
	reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
	reconcile(t, reconciler)
	put(t, r, block(user("p"), "a", true), store.Began)
	put(t, r, block(user("t"), "b", false), store.Began)
	if err := server.Client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if got := blocked(t, r, "p", "t"); !slices.Equal(got, []string{"a", ""}) {
		t.Errorf("after the flush blocked by %q", got)
	}
	if report := reconcile(t, reconciler); report.Change != tiered.Rebuilt || report.Blocks != 1 {
		t.Errorf("report %+v", report)
	}
	if got := blocked(t, r.cache, "p", "t"); !slices.Equal(got, []string{"a", ""}) {
		t.Errorf("in Redis blocked by %q", got)
	}
	if n := server.Client.Exists(t.Context(), r.keys.Block(user("p"))).Val(); n != 1 {
		t.Error("the copy of the permanent block isn't back")
	}
	storetest.AllExpire(t, server.Client, "")
}

// TestRedisFlushKeepsTemporaryBlocksInPostgres: where Postgres has the temporary blocks, too, they
// come back as well.
func TestRedisFlushKeepsTemporaryBlocksInPostgres(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	server := testenv.PrivateRedis(t)
	r := newRig(t, server.Client, "wardstream", pg, tiered.Options{TemporaryToo: true})
	temp := block(user("t"), "b", false)
	put(t, r, temp, store.Began)
	if got := blocked(t, r.durable, "t"); got[0] != "b" {
		t.Errorf("in Postgres blocked by %q", got)
	}
	if err := server.Client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	found, err := r.cache.Lookup(t.Context(), []checker.Scope{user("t")})
	if err != nil || len(found) != 1 || !found[0].ExpiresAt.Equal(temp.Block.ExpiresAt) {
		t.Errorf("Lookup = %+v, %v", found, err)
	}
	unblock(t, r, "t")
	if got := blocked(t, r, "t"); got[0] != "" {
		t.Errorf("blocked by %q", got)
	}
	if got := blocked(t, r.durable, "t"); got[0] != "" {
		t.Errorf("in Postgres blocked by %q", got)
	}
}

// TestPostgresDownBlocksTakeEffect: temporary blocks go on, a permanent one takes effect at
// once and is durable when Postgres is back and its entry comes again.
func TestPostgresDownBlocksTakeEffect(t *testing.T) {
	t.Parallel()
	pg, server := testenv.PrivatePostgres(t), testenv.Redis(t)
	storetest.Migrate(t, pg.Pool)
	r := newRig(t, server.Client, server.Prefix, &pg.PostgresEnv, tiered.Options{})
	reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
	put(t, r, block(user("before"), "0", true), store.Began)
	reconcile(t, reconciler)
	pg.Stop()

	put(t, r, block(user("t"), "a", false), store.Began)
	perm := block(user("p"), "b", true)
	results, err := r.Put(t.Context(), []store.Put{perm, block(user("t2"), "c", false), block(user("t"), "d", true)})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Outcome != store.Began || !store.Unavailable(r.Err) {
		t.Errorf("permanent block without Postgres: %+v", r)
	}
	if r := results[1]; r.Outcome != store.Began || r.Err != nil {
		t.Errorf("temporary block beside it: %+v", r)
	}
	if r := results[2]; r.Outcome != store.BecamePermanent || !store.Unavailable(r.Err) {
		t.Errorf("permanent block over a temporary one: %+v", r)
	}
	if got := blocked(t, r, "p", "t", "t2"); !slices.Equal(got, []string{"b", "d", "c"}) {
		t.Errorf("blocked by %q", got)
	}
	// What is known to be permanent needs no Postgres.
	put(t, r, block(user("before"), "again", true), store.Kept)
	put(t, r, block(user("before"), "temp", false), store.Kept)
	if _, err := reconciler.Reconcile(t.Context()); err == nil {
		t.Error("the reconciler reconciled with nothing")
	}

	pg.Start()
	testenv.Eventually(t, 20*time.Second, func() error {
		results, err := r.Put(t.Context(), []store.Put{perm, block(user("t"), "d", true)})
		if err != nil {
			return err
		}
		if err := errors.Join(results[0].Err, results[1].Err); err != nil {
			return err
		}
		if results[0].Outcome != store.Began || results[1].Outcome != store.BecamePermanent {
			t.Errorf("redelivered: %+v", results)
		}
		return nil
	})
	if got := blocked(t, r.durable, "p", "t"); !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("in Postgres blocked by %q", got)
	}
}

// TestUndurableSurvivesReconciler: a permanent block that Postgres has yet to hear of isn't swept
// away. TestOutageBeginsNoSecondBlock: a block that begins in Redis while Postgres is down is the
// same one when Postgres gets it, though by another of its entries.
func TestOutageBeginsNoSecondBlock(t *testing.T) {
	t.Parallel()
	pg, server := testenv.PrivatePostgres(t), testenv.Redis(t)
	storetest.Migrate(t, pg.Pool)
	r := newRig(t, server.Client, server.Prefix, &pg.PostgresEnv, tiered.Options{})
	pg.Stop()
	first, second := block(user("u"), "first", true), block(user("u"), "second", true)
	second.EvidenceTime = first.EvidenceTime.Add(time.Second)
	second.Block.CreatedAt = second.EvidenceTime
	results, err := r.Put(t.Context(), []store.Put{first, second})
	if err != nil || results[0].Outcome != store.Began || results[1].Outcome != store.Kept || !store.Unavailable(results[1].Err) {
		t.Fatalf("without Postgres: %+v, %v", results, err)
	}

	pg.Start()
	testenv.Eventually(t, 20*time.Second, func() error {
		if results, err = r.Put(t.Context(), []store.Put{second}); err != nil {
			return err
		}
		return results[0].Err
	})
	if b := results[0].Block; b.ID != "first" || !b.CreatedAt.Equal(first.Block.CreatedAt) {
		t.Errorf("Postgres has %+v", b)
	}
	if r := put(t, r, first, store.Began); r.Block.ID != "first" {
		t.Errorf("redelivered: %+v", r)
	}
	if got := blocked(t, r.durable, "u"); got[0] != "first" {
		t.Errorf("in Postgres blocked by %q", got)
	}
}

func TestUndurableSurvivesReconciler(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	put(t, r.cache, block(user("p"), "a", true), store.Began) // as with Postgres down
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	if got := blocked(t, r, "p"); got[0] != "a" {
		t.Errorf("blocked by %q", got)
	}
}

// TestRedisDownIsRepairedFromPostgres: nothing is claimed, and what Postgres has by then is
// repaired.
func TestRedisDownIsRepairedFromPostgres(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	server := testenv.PrivateRedis(t)
	r := newRig(t, server.Client, "wardstream", pg, tiered.Options{})
	put(t, r, block(user("p"), "a", true), store.Began)
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	temp, perm := block(user("t"), "b", false), block(user("q"), "c", true)
	for _, p := range []store.Put{temp, perm} {
		if results, err := r.Put(ctx, []store.Put{p}); !store.Unavailable(err) {
			t.Errorf("Put = %+v, %v", results, err)
		}
	}
	if _, err := r.Lookup(ctx, []checker.Scope{user("p")}); !store.Unavailable(err) {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := r.Unblock(ctx, store.Revocation{Scope: user("p")}); !store.Unavailable(err) {
		t.Errorf("Unblock: %v", err)
	}
	server.Restart()
	put(t, r, temp, store.Began)
	put(t, r, perm, store.Began)
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	if got := blocked(t, r, "p", "t", "q"); !slices.Equal(got, []string{"", "b", "c"}) { // Postgres has the unblock
		t.Errorf("blocked by %q", got)
	}
}

// TestUnblockDuringRedisOutageIsRepaired: Postgres revoked, Redis was down and kept its copies.
// Repeating heals, and so does the reconciler.
func TestUnblockDuringRedisOutageIsRepaired(t *testing.T) {
	t.Parallel()
	for _, heal := range []string{"repeat", "reconcile"} {
		t.Run(heal, func(t *testing.T) {
			t.Parallel()
			r := sharedRig(t)
			reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
			put(t, r, block(user("p"), "a", true), store.Began)
			reconcile(t, reconciler)
			unblock(t, r.durable, "p")
			if got := blocked(t, r, "p"); got[0] != "a" {
				t.Fatalf("blocked by %q: the test shows nothing", got)
			}
			if heal == "repeat" {
				unblock(t, r, "p")
			} else if report := reconcile(t, reconciler); report.Change != tiered.Synced || report.Repaired != 1 {
				t.Errorf("report %+v", report)
			}
			if got := blocked(t, r, "p"); got[0] != "" {
				t.Errorf("still blocked by %q", got)
			}
		})
	}
}

// TestUnblockDuringPostgresOutage: the scope is free at once, the operator is warned,
// and repeating makes it last.
func TestUnblockDuringPostgresOutage(t *testing.T) {
	t.Parallel()
	pg, server := testenv.PrivatePostgres(t), testenv.Redis(t)
	storetest.Migrate(t, pg.Pool)
	r := newRig(t, server.Client, server.Prefix, &pg.PostgresEnv, tiered.Options{})
	reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
	put(t, r, block(user("p"), "a", true), store.Began)
	reconcile(t, reconciler)
	pg.Stop()
	lifted, err := r.Unblock(t.Context(), store.Revocation{Scope: user("p"), At: time.Now()})
	if !store.Unavailable(err) || len(lifted) != 1 {
		t.Errorf("Unblock = %+v, %v", lifted, err)
	}
	if got := blocked(t, r, "p"); got[0] != "" {
		t.Errorf("blocked by %q", got)
	}
	pg.Start()
	later := block(user("p"), "later", true) // Postgres never got the unblock, and the match is after it
	later.EvidenceTime = time.Now().Add(time.Minute)
	testenv.Eventually(t, 20*time.Second, func() error {
		results, err := r.Put(t.Context(), []store.Put{later})
		if err != nil {
			return err
		}
		return results[0].Err
	})
	if got := blocked(t, r, "p"); got[0] != "a" {
		t.Errorf("after a later match blocked by %q", got)
	}
	testenv.Eventually(t, 20*time.Second, func() error {
		_, err := r.Unblock(t.Context(), store.Revocation{Scope: user("p"), At: time.Now()})
		return err
	})
	r.drop(t, r.keys.Permanent())
	reconcile(t, reconciler)
	if got := blocked(t, r, "p"); got[0] != "" {
		t.Errorf("blocked by %q again", got)
	}
}

// TestCrashBetweenTiers: a worker committed to Postgres and died.
func TestCrashBetweenTiers(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
	reconcile(t, reconciler)
	p := block(user("p"), "a", true)
	put(t, r.durable, p, store.Began)
	if report := reconcile(t, reconciler); report.Change != tiered.Synced || report.Repaired != 1 {
		t.Errorf("report %+v", report)
	}
	if got := blocked(t, r.cache, "p"); got[0] != "a" {
		t.Errorf("in Redis blocked by %q", got)
	}
	put(t, r, p, store.Began) // its entry comes again
	if report := reconcile(t, reconciler); report.Change != tiered.Fresh || report.Blocks != 1 {
		t.Errorf("report %+v", report)
	}
}

// TestEvictedCopyBeginsNoSecondBlock: the copy's key is gone; hash, or Postgres, keeps a temporary
// block from counting as a beginning.
func TestEvictedCopyBeginsNoSecondBlock(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	put(t, r, block(user("p"), "a", true), store.Began)
	r.drop(t, r.keys.Block(user("p")))
	put(t, r, block(user("p"), "t", false), store.Kept)
	if got := blocked(t, r, "p"); got[0] != "a" {
		t.Errorf("blocked by %q", got)
	}
	checkers := redislookup.New(r.client, redislookup.WithKeyPrefix(r.prefix), redislookup.WithPermanentTier())
	if got := blocked(t, checkers, "p", "clean"); !slices.Equal(got, []string{"a", ""}) {
		t.Errorf("to a checker blocked by %q", got)
	}
	r.drop(t, r.keys.Permanent())
	if got := blocked(t, r, "p"); got[0] != "a" {
		t.Errorf("with the hash gone blocked by %q", got)
	}
	if _, err := checkers.Lookup(t.Context(), []checker.Scope{user("p")}); !errors.Is(err, redislookup.ErrCold) {
		t.Errorf("a checker with the hash gone: %v", err)
	}
}

// TestDurableExpiry: a durable block with an end ends in Redis, too.
func TestDurableExpiry(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	p := block(user("d"), "a", false)
	p.Block.ExpiresAt = time.Now().Add(1500 * time.Millisecond)
	put(t, r.durable, p, store.Began)
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	if got := blocked(t, r, "d"); got[0] != "a" {
		t.Errorf("blocked by %q", got)
	}
	testenv.Eventually(t, 20*time.Second, func() error {
		if time.Now().Before(p.Block.ExpiresAt.Add(5 * time.Millisecond)) {
			return errors.New("not yet")
		}
		return nil
	})
	if got := blocked(t, r, "d"); got[0] != "" {
		t.Errorf("still blocked by %q", got)
	}
}

// TestUnstorableTakesEffect: a block that Postgres can never hold is in effect
// through Redis all the same, and says so.
func TestUnstorableTakesEffect(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	nul := block(user("a\x00b"), "a", true)
	results, err := r.Put(t.Context(), []store.Put{nul, block(user("p"), "b", true)})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(results[0].Err, store.ErrUnstorable) || results[0].Outcome != store.Began || results[1].Err != nil {
		t.Errorf("results %+v", results)
	}
	if got := blocked(t, r, "a\x00b", "p"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("blocked by %q", got)
	}
}
