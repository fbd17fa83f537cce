package tiered_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// a rig is a tiered store, and the tiers to look into.
type rig struct {
	*tiered.Blocks

	cache   *redisstore.Blocks
	durable *pgstore.Blocks
	client  redis.UniversalClient
	prefix  string
	keys    rediskey.Keys
}

func newRig(t testing.TB, client redis.UniversalClient, prefix string, pg *testenv.PostgresEnv, o tiered.Options) *rig {
	t.Helper()
	cache := newCache(t, client, redisstore.BlockOptions{Prefix: prefix})
	durable := newDurable(t, pg.Pool, pgstore.Options{Timeout: 2 * time.Second})
	return &rig{
		Blocks: tiered.New(cache, durable, o), cache: cache, durable: durable,
		client: client, prefix: prefix, keys: rediskey.Keys{Prefix: prefix},
	}
}

// sharedRig is a rig on the servers that the tests share.
func sharedRig(t testing.TB) *rig {
	t.Helper()
	r, p := testenv.Redis(t), testenv.Postgres(t)
	storetest.Migrate(t, p.Pool)
	return newRig(t, r.Client, r.Prefix, p, tiered.Options{})
}

func user(value string) checker.Scope { return checker.Scope{Type: checker.ScopeUser, Value: value} }

func block(sc checker.Scope, id string, permanent bool) store.Put {
	now := time.Now().UTC().Truncate(time.Millisecond)
	p := store.Put{EvidenceTime: now, Block: checker.Block{ID: id, Scope: sc, Rule: "r", StatusCode: 403, Message: "m", CreatedAt: now}}
	if !permanent {
		p.Block.ExpiresAt = now.Add(time.Hour)
	}
	return p
}

func put(t testing.TB, b store.Blocks, p store.Put, want store.Outcome) store.Result {
	t.Helper()
	results, err := b.Put(context.Background(), []store.Put{p})
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	if r := results[0]; r.Err != nil || r.Outcome != want {
		t.Fatalf("Put %s %q: outcome %d, error %v; want %d", p.Block.Scope, p.Block.ID, r.Outcome, r.Err, want)
	}
	return results[0]
}

// blocked returns the IDs of what blocks the scopes, "" for nothing.
func blocked(t testing.TB, b checker.Lookup, values ...string) []string {
	t.Helper()
	ids := make([]string, len(values))
	for i, v := range values {
		blocks, err := b.Lookup(context.Background(), []checker.Scope{user(v)})
		if err != nil {
			t.Fatalf("Lookup(%q): %v", v, err)
		}
		if len(blocks) > 0 {
			ids[i] = blocks[0].ID
		}
	}
	return ids
}

func reconcile(t testing.TB, r *tiered.Reconciler) tiered.Report {
	t.Helper()
	report, err := r.Reconcile(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func unblock(t testing.TB, b store.Blocks, value string) []checker.Block {
	t.Helper()
	lifted, err := b.Unblock(context.Background(), store.Revocation{Scope: user(value), By: "ops", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return lifted
}

// drop forgets Redis's keys: an eviction.
func (r *rig) drop(t testing.TB, keys ...string) {
	t.Helper()
	if err := r.client.Del(context.Background(), keys...).Err(); err != nil {
		t.Fatal(err)
	}
}
