package tiered_test

import (
	"context"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestMembershipHashIsRebuiltBeforeItExpires: a hash that is left alone until it is gone leaves a
// gap in which ingress does not know which clients are blocked permanently. Two passes fit into
// what is left when it is renewed.
func TestMembershipHashIsRebuiltBeforeItExpires(t *testing.T) {
	t.Parallel()
	const ttl = redisstore.DefaultPermanentTTL
	for name, tt := range map[string]struct {
		left time.Duration // of the hash's time
		want tiered.Change
	}{
		"new":                     {ttl, tiered.Fresh},
		"not yet a third is over": {ttl*2/3 + time.Minute, tiered.Fresh},
		"a third is over":         {ttl*2/3 - time.Second, tiered.Rebuilt},
		"two passes are left":     {3 * tiered.DefaultInterval, tiered.Rebuilt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sharedRig(t)
			reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
			reconcile(t, reconciler)
			reconcile(t, reconciler) // the first one after the start looks further back
			if err := r.client.PExpire(t.Context(), r.keys.Permanent(), tt.left).Err(); err != nil {
				t.Fatal(err)
			}
			if report := reconcile(t, reconciler); report.Change != tt.want {
				t.Errorf("the pass was %s, want %s", report.Change, tt.want)
			}
			if left := r.client.PTTL(t.Context(), r.keys.Permanent()).Val(); left < ttl*2/3 {
				t.Errorf("the hash expires in %s", left)
			}
		})
	}
}

// foreign writes a row as other software does, dated by its own clock.
func (r *rig) foreign(t *testing.T, value string, at time.Time) {
	t.Helper()
	p := block(user(value), "", true)
	p.Block.CreatedAt, p.EvidenceTime = at, at
	if _, err := r.durable.Put(context.Background(), []store.Put{p}); err != nil {
		t.Fatal(err)
	}
}

// TestRowsOfSlowClockAreFollowed: what other software blocks and unblocks in Postgres is in Redis
// after the next pass though its clock is behind ours by most of a minute; nothing waits for a
// rebuild.
func TestRowsOfSlowClockAreFollowed(t *testing.T) {
	t.Parallel()
	for name, behind := range map[string]time.Duration{"in step": 0, "5 s": 5 * time.Second, "59 s": 59 * time.Second, "ahead": -59 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, pg := testenv.Redis(t), testenv.Postgres(t)
			storetest.Migrate(t, pg.Pool)
			now := time.Now().Add(-time.Hour) // a clock that stands still, so that a busy machine makes no difference
			r := newRig(t, env.Client, env.Prefix, pg, tiered.Options{Now: func() time.Time { return now }})
			reconciler := tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{})
			for range 3 {
				reconcile(t, reconciler)
			}
			now = now.Add(time.Hour / 10)
			reconcile(t, reconciler)
			r.foreign(t, "p", now.Add(-behind))
			if report := reconcile(t, reconciler); report.Change != tiered.Synced || report.Repaired != 1 {
				t.Errorf("after the block: %+v", report)
			}
			if !isBlocked(t, r.cache, "p") {
				t.Error("Redis doesn't know of the block")
			}
			if got, err := r.durable.Unblock(t.Context(), store.Revocation{Scope: user("p"), By: "others", At: now.Add(-behind)}); err != nil || len(got) != 1 {
				t.Fatalf("lifted %v, %v", got, err)
			}
			if report := reconcile(t, reconciler); report.Change != tiered.Synced || report.Repaired != 1 {
				t.Errorf("after the unblock: %+v", report)
			}
			if isBlocked(t, r.cache, "p") {
				t.Error("Redis still blocks")
			}
		})
	}
}

func isBlocked(t *testing.T, lookup checker.Lookup, value string) bool {
	t.Helper()
	found, err := lookup.Lookup(t.Context(), []checker.Scope{user(value)})
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}
