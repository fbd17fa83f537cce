package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

func rebuild(t *testing.T, b *redisstore.Blocks, truth *memstore.Blocks) int {
	t.Helper()
	n, err := b.Rebuild(t.Context(), truth.Each)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fields returns the scopes in the membership hash.
func fields(t *testing.T, env *testenv.RedisEnv) []string {
	t.Helper()
	names, err := env.Client.HKeys(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Permanent()).Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix, PermanentTTL: 10 * time.Minute})
	truth := memstore.NewBlocks(time.Now)
	ctx := t.Context()
	if m, err := b.Members(ctx); err != nil || m.Complete {
		t.Fatalf("Members = %+v, %v before there is one", m, err)
	}
	if n := rebuild(t, b, truth); n != 0 {
		t.Fatalf("rebuilt %d blocks of none", n)
	}
	if m, err := b.Members(ctx); err != nil || !m.Complete || m.Blocks != 0 {
		t.Fatalf("Members = %+v, %v of nothing", m, err)
	}
	const many = 1234 // more than a chunk
	for i := range many {
		mustPut(t, truth, block(user(fmt.Sprint(i)), "a", true))
	}
	durable := block(user("durable"), "d", false)
	mustPut(t, truth, durable)
	if n := rebuild(t, b, truth); n != many+1 {
		t.Fatalf("rebuilt %d blocks, want %d", n, many+1)
	}
	m, err := b.Members(ctx)
	if err != nil || !m.Complete || m.Blocks != many+1 || m.Age > time.Minute {
		t.Fatalf("Members = %+v, %v", m, err)
	}
	found, err := b.Lookup(ctx, []checker.Scope{user("7"), user("durable"), user("nobody")})
	if err != nil || len(found) != 2 || found[0].ID != "a" || !found[0].Permanent() || !found[1].ExpiresAt.Equal(durable.Block.ExpiresAt) {
		t.Fatalf("Lookup = %+v, %v", found, err)
	}
	if _, err := truth.Unblock(ctx, store.Revocation{Scope: user("7")}); err != nil {
		t.Fatal(err)
	}
	if n := rebuild(t, b, truth); n != many {
		t.Fatalf("rebuilt %d blocks, want %d", n, many)
	}
	if slices.Contains(fields(t, env), "user:7") {
		t.Error("a rebuild kept what is gone")
	}
	storetest.AllExpire(t, env.Client, env.Prefix)
}

// TestConflictingRebuild: what is written while a rebuild reads makes it begin
// again; if that goes on, the old hash stays.
func TestConflictingRebuild(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix, PermanentTTL: 10 * time.Minute})
	truth := memstore.NewBlocks(time.Now)
	rebuild(t, b, truth)
	reads := 0
	confirm := func(ctx context.Context, id string) error {
		p := block(user(id), id, true)
		mustPut(t, truth, p)
		_, err := b.Confirm(ctx, []store.Put{p})
		return err
	}
	// Reads first, then a block is written.
	late := func(times int) func(context.Context, func(checker.Block) error) error {
		return func(ctx context.Context, fn func(checker.Block) error) error {
			reads++
			if err := truth.Each(ctx, fn); err != nil {
				return err
			}
			if reads <= times {
				return confirm(ctx, fmt.Sprint("late", reads))
			}
			return nil
		}
	}
	if n, err := b.Rebuild(t.Context(), late(1)); err != nil || n != 1 || reads != 2 {
		t.Fatalf("Rebuild = %d, %v after %d reads", n, err, reads)
	}
	reads = 0
	if _, err := b.Rebuild(t.Context(), late(1000)); !errors.Is(err, store.ErrConflict) || reads > 10 {
		t.Fatalf("Rebuild: %v after %d reads", err, reads)
	}
	m, err := b.Members(t.Context())
	if err != nil || !m.Complete || m.Blocks != reads || m.Age > time.Minute {
		t.Errorf("Members = %+v, %v, want %d blocks", m, err, reads)
	}
	storetest.AllExpire(t, env.Client, env.Prefix)
	if n, err := env.Client.Keys(t.Context(), env.Prefix+":blocks:rebuild:*").Result(); err != nil || len(n) != 0 {
		t.Errorf("unfinished hashes %v, %v", n, err)
	}
}

var errRead = errors.New("Postgres went away")

func TestFailedRebuildChangesNothing(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	truth := memstore.NewBlocks(time.Now)
	for i := range 1000 {
		mustPut(t, truth, block(user(fmt.Sprint(i)), "a", true))
	}
	rebuild(t, b, truth)
	before := fields(t, env)
	read := 0
	_, err := b.Rebuild(t.Context(), func(ctx context.Context, fn func(checker.Block) error) error {
		return truth.Each(ctx, func(block checker.Block) error {
			if read++; read > 700 {
				if n, err := env.Client.Keys(ctx, env.Prefix+":blocks:rebuild:*").Result(); err != nil || len(n) != 1 {
					t.Errorf("unfinished hashes %v, %v", n, err)
				}
				storetest.AllExpire(t, env.Client, env.Prefix) // should we die now
				return errRead
			}
			return fn(block)
		})
	})
	if !errors.Is(err, errRead) {
		t.Fatalf("Rebuild: %v", err)
	}
	if !slices.Equal(fields(t, env), before) {
		t.Error("half a rebuild was put into place")
	}
	if n, err := env.Client.Keys(t.Context(), env.Prefix+":blocks:rebuild:*").Result(); err != nil || len(n) != 0 {
		t.Errorf("unfinished hashes %v, %v", n, err)
	}
}

// TestConfirmNeverCreatesHash: a hash with one block and without the complete field would be one
// more thing to doubt.
func TestConfirmNeverCreatesHash(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	keys := rediskey.Keys{Prefix: env.Prefix}
	if err := env.Client.Set(t.Context(), keys.Warm(), `{"v":2,"members":[]}`, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Confirm(t.Context(), []store.Put{block(user("x"), "a", true)}); err != nil {
		t.Fatal(err)
	}
	if n := env.Client.Exists(t.Context(), keys.Permanent(), keys.Warm()).Val(); n != 0 {
		t.Errorf("%d of membership hash and sentinel are there", n)
	}
	if n := env.Client.Exists(t.Context(), keys.Block(user("x"))).Val(); n != 1 {
		t.Error("the block's key is missing")
	}
}

// TestHashOutranksLostCopy: with the copy evicted, the membership hash still
// keeps a temporary block from being put over a permanent one.
func TestHashOutranksLostCopy(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	truth := memstore.NewBlocks(time.Now)
	mustPut(t, truth, block(user("x"), "p", true))
	durable := block(user("d"), "d", false)
	durable.Block.Message = `,"e":99999999999999,`
	mustPut(t, truth, durable)
	rebuild(t, b, truth)
	if r := mustPut(t, b, block(user("x"), "t", false))[0]; r.Outcome != store.Kept || r.Block.ID != "p" || !r.Block.Permanent() {
		t.Errorf("Put = %+v", r)
	}
	weaker, later := block(user("d"), "weaker", false), block(user("d"), "later", false)
	weaker.Block.ExpiresAt = durable.Block.ExpiresAt.Add(-time.Minute)
	later.Block.ExpiresAt = durable.Block.ExpiresAt.Add(time.Minute)
	r := mustPut(t, b, weaker, later)
	if r[0].Outcome != store.Kept || r[0].Block.ID != "d" || r[1].Outcome != store.Began {
		t.Errorf("Put = %+v", r)
	}
}

func TestSync(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	truth := memstore.NewBlocks(time.Now)
	ctx := t.Context()
	gone, there, temp := block(user("gone"), "a", true), block(user("there"), "b", true), block(user("temp"), "c", false)
	mustPut(t, truth, gone)
	rebuild(t, b, truth)
	if err := b.Refresh(ctx, []checker.Block{gone.Block}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, temp)
	// A worker crashes between the two tiers, twice.
	if _, err := truth.Unblock(ctx, store.Revocation{Scope: user("gone")}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, truth, there)
	scopes := []checker.Scope{user("gone"), user("there"), user("temp"), user("never")}
	if n, err := b.Sync(ctx, scopes, truth.Lookup); err != nil || n != 2 {
		t.Fatalf("Sync = %d, %v", n, err)
	}
	found, err := b.Lookup(ctx, scopes)
	if err != nil || len(found) != 2 || found[0].ID != "b" || found[1].ID != "c" {
		t.Fatalf("Lookup = %+v, %v", found, err)
	}
	if got := fields(t, env); !slices.Equal(got, []string{rediskey.CompleteField, "user:there"}) {
		t.Errorf("membership hash has %v", got)
	}
	if n, err := b.Sync(ctx, scopes, truth.Lookup); err != nil || n != 0 {
		t.Errorf("a second Sync = %d, %v", n, err)
	}
	// What only goes makes the Python library's readers reload, too.
	warm := rediskey.Keys{Prefix: env.Prefix}.Warm()
	if err := env.Client.Set(ctx, warm, `{"v":2,"members":[["user","there"]]}`, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := truth.Unblock(ctx, store.Revocation{Scope: user("there")}); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Sync(ctx, scopes, truth.Lookup); err != nil || n != 1 || env.Client.Exists(ctx, warm).Val() != 0 {
		t.Errorf("a third Sync = %d, %v; the sentinel is there: %d", n, err, env.Client.Exists(ctx, warm).Val())
	}
}

// TestSweep: only copies of what Postgres had go.
func TestSweep(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	truth := memstore.NewBlocks(time.Now)
	ctx := t.Context()
	long := user(string(make([]byte, 300)))
	stale, odd, held := block(user("stale"), "a", true).Block, block(long, "b", true).Block, block(user("held"), "c", true)
	mustPut(t, truth, held)
	if err := b.Refresh(ctx, []checker.Block{stale, odd, held.Block}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, block(user("temp"), "d", false), block(user("undurable"), "e", true))
	foreign := `{"scope_type": "user", "scope_value": "foreign"}`
	if err := env.Client.Set(ctx, rediskey.Keys{Prefix: env.Prefix}.Block(user("foreign")), foreign, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Sweep(ctx, truth.Lookup); err != nil || n != 2 {
		t.Fatalf("Sweep = %d, %v", n, err)
	}
	blocks, err := b.List(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, block := range blocks {
		left = append(left, block.Scope.Value)
	}
	slices.Sort(left)
	if !slices.Equal(left, []string{"foreign", "held", "temp", "undurable"}) {
		t.Errorf("left are %v", left)
	}
}

// TestRefresh: durable blocks with an end, and temporary ones that end later.
func TestRefresh(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix, PermanentTTL: 10 * time.Minute})
	ctx := t.Context()
	short, ended, longer := block(user("short"), "a", false).Block, block(user("ended"), "b", false).Block, block(user("longer"), "c", false)
	short.ExpiresAt = time.Now().Add(time.Minute)
	ended.ExpiresAt = time.Now().Add(-time.Minute)
	mustPut(t, b, longer)
	longer.Block.ExpiresAt = longer.Block.ExpiresAt.Add(-time.Minute)
	unblocked := block(user("unblocked"), "d", true).Block
	if _, err := b.Unblock(ctx, store.Revocation{Scope: unblocked.Scope, At: unblocked.CreatedAt}); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(ctx, []checker.Block{short, ended, longer.Block, unblocked}); err != nil {
		t.Fatal(err)
	}
	keys := rediskey.Keys{Prefix: env.Prefix}
	for name, want := range map[string]time.Duration{"short": time.Minute, "longer": time.Hour} {
		if left := env.Client.PTTL(ctx, keys.Block(user(name))).Val(); left > want || left < want-30*time.Second {
			t.Errorf("%s lives %v, want %v", name, left, want)
		}
	}
	if n := env.Client.Exists(ctx, keys.Block(user("ended")), keys.Block(user("unblocked"))).Val(); n != 0 {
		t.Error("a copy came back to life")
	}
}
