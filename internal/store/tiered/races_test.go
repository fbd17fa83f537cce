package tiered_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestTiersAgreeAfterRaces lets workers block, operators unblock and
// reconcilers rebuild the same scopes at the same time. Once all is quiet, and without another
// look by a reconciler, Redis has to say what Postgres says. The Python library loses both
// races: a check brings an unblocked scope back, and a rebuild forgets a new block.
func TestTiersAgreeAfterRaces(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	ctx := context.Background()
	const scopes, rounds = 6, 60
	start := time.Now().Truncate(time.Millisecond)
	var all, rebuilds sync.WaitGroup
	done := make(chan struct{})
	for w := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range rounds {
				name := fmt.Sprint(random.IntN(scopes))
				if random.IntN(3) == 0 {
					if _, err := r.Unblock(ctx, store.Revocation{Scope: user(name)}); err != nil {
						t.Error(err)
					}
					continue
				}
				p := block(user(name), fmt.Sprintf("w%d-%d", w, i), true)
				p.EvidenceTime = start.Add(time.Duration(random.Int64N(int64(time.Since(start)) + 1)))
				p.Block.CreatedAt = p.EvidenceTime
				if results, err := r.Put(ctx, []store.Put{p}); err != nil || results[0].Err != nil {
					t.Errorf("Put = %+v, %v", results, err)
				}
			}
		})
	}
	for range 2 {
		rebuilds.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := r.cache.Rebuild(ctx, r.durable.Each); err != nil && !strings.Contains(err.Error(), store.ErrConflict.Error()) {
					t.Error(err)
					return
				}
				if err := r.durable.Each(ctx, func(b checker.Block) error { return r.cache.Refresh(ctx, []checker.Block{b}) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	close(done)
	rebuilds.Wait()
	agree(t, r, scopes)
}

// agree fails where hash, copies and Postgres don't say the same.
func agree(t *testing.T, r *rig, scopes int) {
	t.Helper()
	ctx := t.Context()
	members, err := r.client.HGetAll(ctx, r.keys.Permanent()).Result()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := members[rediskey.CompleteField]; !ok {
		t.Error("the membership hash isn't complete")
	}
	for i := range scopes {
		sc := user(fmt.Sprint(i))
		rows, err := r.durable.Lookup(ctx, []checker.Scope{sc})
		if err != nil {
			t.Fatal(err)
		}
		truth := len(rows) > 0
		_, member := members[rediskey.MemberField(sc)]
		copied := r.client.Exists(ctx, r.keys.Block(sc)).Val() == 1
		if member != truth || copied != truth {
			t.Errorf("%s: in Postgres %v, in the hash %v, a copy %v", sc, truth, member, copied)
		}
	}
}

// TestRacesInCluster: the same where hash and keys are on different servers.
// There a crash of timing may leave the two apart until a reconciler has looked.
func TestUnblockRacesConfirmInCluster(t *testing.T) {
	t.Parallel()
	client, pg := storetest.Cluster(t), testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	r := newRig(t, client, "wardstream", pg, tiered.Options{})
	reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
	const scopes = 40
	var all sync.WaitGroup
	for i := range scopes {
		p := block(user(fmt.Sprint(i)), "a", true)
		all.Go(func() {
			if _, err := r.Put(context.Background(), []store.Put{p}); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := r.Unblock(context.Background(), store.Revocation{Scope: p.Block.Scope, At: p.EvidenceTime}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	agree(t, r, scopes)
	if got := blocked(t, r, "0", "1", "2"); !slices.Equal(got, []string{"", "", ""}) {
		t.Errorf("blocked by %q: an unblock was undone", got)
	}
}

// TestReconcilerPasses goes through what a pass can come to.
func TestReconcilerPasses(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	registry := prometheus.NewRegistry()
	reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{Registerer: registry})
	for i := range 1100 {
		p := block(user(fmt.Sprint(i)), "a", true)
		put(t, r.durable, p, store.Began)
	}
	if report := reconcile(t, reconciler); report.Change != tiered.Rebuilt || report.Blocks != 1100 || report.Repaired != 0 {
		t.Errorf("first pass: %+v", report)
	}
	if n := r.client.Exists(t.Context(), r.keys.Block(user("0")), r.keys.Block(user("1099"))).Val(); n != 2 {
		t.Error("copies are missing")
	}
	if report := reconcile(t, reconciler); report.Change == tiered.Rebuilt && report.Blocks != 1100 {
		t.Errorf("second pass: %+v", report)
	}
	// Stale: no more than two thirds of its TTL are left.
	if err := r.client.PExpire(t.Context(), r.keys.Permanent(), r.cache.PermanentTTL()*2/3-time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	unblock(t, r.durable, "5") // half an unblock
	if report := reconcile(t, reconciler); report.Change != tiered.Rebuilt || report.Blocks != 1099 || report.Repaired != 1 {
		t.Errorf("pass over a stale hash: %+v", report)
	}
	if got := blocked(t, r.cache, "5", "6"); !slices.Equal(got, []string{"", "a"}) {
		t.Errorf("blocked by %q", got)
	}
	// Incomplete.
	if err := r.client.HDel(t.Context(), r.keys.Permanent(), rediskey.CompleteField).Err(); err != nil {
		t.Fatal(err)
	}
	if report := reconcile(t, reconciler); report.Change != tiered.Rebuilt {
		t.Errorf("pass over an incomplete hash: %+v", report)
	}
	storetest.AllExpire(t, r.client, r.prefix)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP wardstream_permanent_blocks Permanent blocks in the membership hash.
# TYPE wardstream_permanent_blocks gauge
wardstream_permanent_blocks 1099
# HELP wardstream_reconcile_repairs_total Copies in Redis that differed from Postgres and were repaired.
# TYPE wardstream_reconcile_repairs_total counter
wardstream_reconcile_repairs_total 1
`), "wardstream_permanent_blocks", "wardstream_reconcile_repairs_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) != 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

// TestReconcilerRuns: passes come by themselves, and errors don't end them.
func TestReconcilerRuns(t *testing.T) {
	t.Parallel()
	r := sharedRig(t)
	registry := prometheus.NewRegistry()
	reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{
		Interval: 5 * time.Millisecond, Registerer: registry, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		reconciler.Run(ctx)
		close(ended)
	}()
	for _, id := range []string{"a", "b"} {
		put(t, r.durable, block(user(id), id, true), store.Began)
		testenv.Eventually(t, 20*time.Second, func() error {
			if got := blocked(t, r.cache, id); got[0] != id {
				return fmt.Errorf("blocked by %q", got)
			}
			return nil
		})
	}
	cancel()
	<-ended
	tiered.NewReconciler(tiered.New(r.cache, nil, tiered.Options{}), tiered.ReconcilerOptions{}).Run(t.Context()) // returns at once
}

// TestForeignSoftware: the Python library's administrators block and unblock in
// Postgres; the reconciler brings it to Redis.
func TestForeignSoftware(t *testing.T) {
	t.Parallel()
	env, pg := testenv.Redis(t), testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	r := newRig(t, env.Client, env.Prefix, pg, tiered.Options{})
	reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
	put(t, r, block(user("ours"), "a", true), store.Began)
	reconcile(t, reconciler)
	for _, sql := range []string{
		`INSERT INTO permanent_blocks (scope_type, scope_value, rule_name, message) VALUES ('user', 'theirs', 'manual', 'go away')`,
		`UPDATE permanent_blocks SET revoked_at = now(), revoked_by = 'admin' WHERE scope_value = 'ours'`,
	} {
		if _, err := pg.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if report := reconcile(t, reconciler); report.Change != tiered.Synced || report.Repaired != 2 {
		t.Errorf("report %+v", report)
	}
	if got := blocked(t, r, "ours"); got[0] != "" {
		t.Errorf("blocked by %q", got)
	}
	found, err := r.cache.Lookup(t.Context(), []checker.Scope{user("theirs")})
	if err != nil || len(found) != 1 || found[0].Message != "go away" || !found[0].Permanent() {
		t.Errorf("Lookup = %+v, %v", found, err)
	}
}
