package redisstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestClusterScriptsAreReloadedOnOneNode: of a batch that went to two servers only what
// failed is sent again.
func TestClusterScriptsAreReloadedOnOneNode(t *testing.T) {
	t.Parallel()
	client := storetest.Cluster(t)
	b := newBlocks(t, client, redisstore.BlockOptions{})
	mustPut(t, b, block(user("loads"), "a", false))
	var first sync.Once
	err := client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) (err error) {
		first.Do(func() { err = node.ScriptFlush(ctx).Err() })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var puts []store.Put
	for i := range 20 {
		short, long := block(user(fmt.Sprint(i)), "a", false), block(user(fmt.Sprint(i)), "b", false)
		long.Block.ExpiresAt = long.Block.ExpiresAt.Add(time.Hour)
		puts = append(puts, short, long)
	}
	for i, r := range mustPut(t, b, puts...) {
		if want := []store.Outcome{store.Began, store.Extended}[i%2]; r.Outcome != want {
			t.Errorf("put %d: outcome %d, want %d", i, r.Outcome, want)
		}
	}
}

// TestClusterMembershipHashOutranksKey: scripts can't see the membership hash, so what they put
// beside a stronger block counts as nothing new.
func TestClusterMembershipHashOutranksKey(t *testing.T) {
	t.Parallel()
	client := storetest.Cluster(t)
	b := newBlocks(t, client, redisstore.BlockOptions{})
	truth := memstore.NewBlocks(time.Now)
	for i := range 10 {
		mustPut(t, truth, block(user(fmt.Sprint(i)), "p", true))
	}
	rebuild(t, b, truth)
	for i := range 12 {
		want := store.Kept
		if i >= 10 {
			want = store.Began
		}
		if r := mustPut(t, b, block(user(fmt.Sprint(i)), "t", false))[0]; r.Outcome != want || want == store.Kept && r.Block.ID != "p" {
			t.Errorf("put %d: %+v", i, r)
		}
	}
	found, err := b.Lookup(t.Context(), []checker.Scope{user("0"), user("9"), user("11"), user("12")})
	if err != nil || len(found) != 3 || found[0].ID != "p" || found[1].ID != "p" || found[2].ID != "t" {
		t.Errorf("Lookup = %+v, %v", found, err)
	}
	if _, err := client.Get(t.Context(), rediskey.Keys{Prefix: rediskey.DefaultPrefix}.Block(user("0"))).Result(); err != nil {
		t.Error(err)
	}
}

// TestClusterConfirmAfterUnblock: the field of a block that was unblocked
// meanwhile is taken back.
func TestClusterConfirmAfterUnblock(t *testing.T) {
	t.Parallel()
	client := storetest.Cluster(t)
	b := newBlocks(t, client, redisstore.BlockOptions{})
	rebuild(t, b, memstore.NewBlocks(time.Now))
	for i := range 10 {
		p := block(user(fmt.Sprint(i)), "a", true)
		if _, err := b.Unblock(t.Context(), store.Revocation{Scope: p.Block.Scope, At: p.EvidenceTime}); err != nil {
			t.Fatal(err)
		}
		if outcomes, err := b.Confirm(t.Context(), []store.Put{p}); err != nil || outcomes[0] != store.Unblocked {
			t.Fatalf("Confirm = %v, %v", outcomes, err)
		}
	}
	if m, err := b.Members(t.Context()); err != nil || !m.Complete || m.Blocks != 0 {
		t.Errorf("Members = %+v, %v", m, err)
	}
}
