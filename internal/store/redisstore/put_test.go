package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

func user(value string) checker.Scope { return checker.Scope{Type: checker.ScopeUser, Value: value} }

// block is a block of an hour, or a permanent one, that an event of now leads to.
func block(sc checker.Scope, id string, permanent bool) store.Put {
	now := time.Now().UTC().Truncate(time.Millisecond)
	p := store.Put{EvidenceTime: now, Block: checker.Block{ID: id, Scope: sc, Rule: "r", StatusCode: 403, Message: "m", CreatedAt: now}}
	if !permanent {
		p.Block.ExpiresAt = now.Add(time.Hour)
	}
	return p
}

func mustPut(t testing.TB, b store.Blocks, puts ...store.Put) []store.Result {
	t.Helper()
	results, err := b.Put(context.Background(), puts)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("put %d: %v", i, r.Err)
		}
	}
	return results
}

func TestTTLs(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix, PermanentTTL: 10 * time.Minute, TombstoneTTL: time.Hour})
	temp, perm := block(user("t"), "a", false), block(user("p"), "b", true)
	mustPut(t, b, temp, perm)
	if _, err := b.Unblock(t.Context(), store.Revocation{Scope: user("u"), At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	keys := rediskey.Keys{Prefix: env.Prefix}
	for key, want := range map[string]time.Duration{
		keys.Block(user("t")): time.Until(temp.Block.ExpiresAt), keys.Block(user("p")): 10 * time.Minute, keys.Unblocked(user("u")): time.Hour,
	} {
		if left := env.Client.PTTL(t.Context(), key).Val(); left > want+time.Minute || left < want-time.Minute {
			t.Errorf("%s lives %v, want %v", key, left, want)
		}
	}
	storetest.AllExpire(t, env.Client, env.Prefix)
}

// TestRepeatedMatchRenewsPermanent: without Postgres a permanent block lasts as
// long as matches renew it.
func TestRepeatedMatchRenewsPermanent(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	key := rediskey.Keys{Prefix: env.Prefix}.Block(user("p"))
	mustPut(t, b, block(user("p"), "a", true))
	for _, id := range []string{"a", "b"} {
		if err := env.Client.PExpire(t.Context(), key, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		mustPut(t, b, block(user("p"), id, true))
		if left := env.Client.PTTL(t.Context(), key).Val(); left < 50*time.Minute {
			t.Errorf("after a match by %q the block lives %v", id, left)
		}
	}
}

// TestLostScriptsAreReloaded: a server that lost the scripts gets them again, and no
// call of a batch is lost or made twice.
func TestLostScriptsAreReloaded(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{})
	for round := range 3 {
		if err := env.Client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		sc := user(strings.Repeat("x", round+1))
		longer := block(sc, "b", false)
		longer.Block.ExpiresAt = longer.Block.ExpiresAt.Add(time.Hour)
		results := mustPut(t, b, block(sc, "a", false), longer, block(sc, "c", true))
		for i, want := range []store.Outcome{store.Began, store.Extended, store.BecamePermanent} {
			if results[i].Outcome != want {
				t.Errorf("round %d, put %d: outcome %d, want %d", round, i, results[i].Outcome, want)
			}
		}
	}
}

// TestBatchIsOneRoundTrip counts what a batch costs: one, and one more to announce what changed.
func TestBatchIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	mustPut(t, b, block(user("warm"), "a", false)) // loads the scripts
	count := &pipelines{}
	env.Client.AddHook(count)
	puts := make([]store.Put, 512)
	for i := range puts {
		puts[i] = block(user(strings.Repeat("x", 1+i%100)), "a", i%3 == 0)
	}
	mustPut(t, b, puts...)
	if count.pipelines != 2 || count.commands != 0 {
		t.Errorf("a batch of 512 took %d pipelines and %d commands", count.pipelines, count.commands)
	}
	for i := range puts {
		puts[i].Block.ID, puts[i].Block.ExpiresAt = "b", puts[i].EvidenceTime.Add(time.Minute)
	}
	mustPut(t, b, puts...)
	if count.pipelines != 3 || count.commands != 0 {
		t.Errorf("a batch that changes nothing took %d pipelines and %d commands", count.pipelines-2, count.commands)
	}
}

type pipelines struct{ pipelines, commands int }

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { p.commands++; return next(ctx, cmd) }
}

func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { p.pipelines++; return next(ctx, cmds) }
}

// TestKeyOfAnotherTypeIsAnError: a key that holds something else can't take a block, and that
// affects no other key.
func TestKeyOfAnotherTypeIsAnError(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	keys := rediskey.Keys{Prefix: env.Prefix}
	if err := env.Client.LPush(t.Context(), keys.Block(user("list")), "x").Err(); err != nil {
		t.Fatal(err)
	}
	results, err := b.Put(t.Context(), []store.Put{block(user("a"), "a", false), block(user("list"), "a", false), block(user("b"), "b", true)})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Err != nil || results[2].Err != nil || !errors.Is(results[1].Err, store.ErrUnstorable) {
		t.Errorf("results %+v", results)
	}
	if blocks, err := b.List(t.Context(), 0); err != nil || len(blocks) != 2 {
		t.Errorf("List = %+v, %v", blocks, err)
	}
	if _, err := b.Unblock(t.Context(), store.Revocation{Scope: user("list")}); !errors.Is(err, store.ErrUnstorable) {
		t.Errorf("Unblock: %v", err)
	}
}

// TestForeignValuesCountByTTL: what other software wrote counts by its TTL; what no reader
// can read is replaced.
func TestForeignValuesCountByTTL(t *testing.T) {
	t.Parallel()
	const python = `{"scope_type": "user", "scope_value": "x", "reason": "", "rule_name": "py", "status_code": 429, "message": "m", ` +
		`"created_at": "2026-01-01T00:00:00.250000+00:00", "expires_at": null, "metadata": {"until": 0}}`
	const fake = `{"id":"x","created_at":null,"until":0,"flags":"c"}`
	for name, tc := range map[string]struct {
		value string
		ttl   time.Duration
		put   store.Put
		want  store.Outcome
	}{
		"shorter is extended":         {python, time.Minute, block(user("x"), "a", false), store.Extended},
		"longer is kept":              {python, 2 * time.Hour, block(user("x"), "a", false), store.Kept},
		"becomes permanent":           {python, 2 * time.Hour, block(user("x"), "a", true), store.BecamePermanent},
		"without end is permanent":    {python, 0, block(user("x"), "a", false), store.Kept},
		"garbage is nothing":          {"not json", time.Hour, block(user("x"), "a", false), store.Began},
		"broken is nothing":           {`{"scope_type": "user`, 2 * time.Hour, block(user("x"), "a", false), store.Began},
		"no scope is nothing":         {`{"a":1}`, 2 * time.Hour, block(user("x"), "a", false), store.Began},
		"a list is nothing":           {`[1]`, 2 * time.Hour, block(user("x"), "a", true), store.Began},
		"deep garbage is nothing":     {strings.Repeat(`{"scope_type":`, 3000), 2 * time.Hour, block(user("x"), "a", false), store.Began},
		"a head alone is nothing new": {fake, 2 * time.Hour, block(user("x"), "a", false), store.Began},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.Redis(t)
			b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
			key := rediskey.Keys{Prefix: env.Prefix}.Block(user("x"))
			if err := env.Client.Set(t.Context(), key, tc.value, tc.ttl).Err(); err != nil {
				t.Fatal(err)
			}
			r := mustPut(t, b, tc.put)[0]
			if r.Outcome != tc.want {
				t.Errorf("outcome %d, want %d", r.Outcome, tc.want)
			}
			if r.Outcome == store.Extended && (r.Block.ID != "" || r.Block.CreatedAt.Year() != 2026 || r.Block.CreatedAt.Month() != time.January) {
				t.Errorf("an extension of another's block made it %+v", r.Block)
			}
			found, err := b.Lookup(t.Context(), []checker.Scope{user("x")})
			if err != nil || len(found) != 1 {
				t.Errorf("Lookup = %+v, %v", found, err)
			}
		})
	}
}

func TestCorruptValueIsAnError(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	key := rediskey.Keys{Prefix: env.Prefix}.Block(user("x"))
	if err := env.Client.Set(t.Context(), key, "not json", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if found, err := b.Lookup(t.Context(), []checker.Scope{user("x")}); err == nil {
		t.Errorf("Lookup = %+v, want an error", found)
	}
	blocks, err := b.List(t.Context(), 0)
	if err != nil || len(blocks) != 1 || blocks[0].Scope != user("x") {
		t.Errorf("List = %+v, %v: an operator has to see it", blocks, err)
	}
	if lifted, err := b.Unblock(t.Context(), store.Revocation{Scope: user("x")}); err != nil || len(lifted) != 1 {
		t.Errorf("Unblock = %+v, %v", lifted, err)
	}
}

func TestServerFailuresAreErrors(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t, "--maxmemory-policy", "noeviction")
	b := newBlocks(t, env.Client, redisstore.BlockOptions{})
	mustPut(t, b, block(user("a"), "a", false))
	if err := env.Client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), []store.Put{block(user("b"), "b", false)}); !store.Unavailable(err) {
		t.Errorf("Put without memory: %v", err)
	}
	if err := env.Client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	env.Kill()
	ctx := t.Context()
	if _, err := b.Put(ctx, []store.Put{block(user("b"), "b", false)}); !store.Unavailable(err) {
		t.Errorf("Put: %v", err)
	}
	if _, err := b.Lookup(ctx, []checker.Scope{user("a")}); !store.Unavailable(err) {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := b.List(ctx, 0); !store.Unavailable(err) {
		t.Errorf("List: %v", err)
	}
	if _, err := b.Unblock(ctx, store.Revocation{Scope: user("a")}); !store.Unavailable(err) {
		t.Errorf("Unblock: %v", err)
	}
	if _, err := b.Members(ctx); !store.Unavailable(err) {
		t.Errorf("Members: %v", err)
	}
	env.Restart()
	mustPut(t, b, block(user("b"), "b", false)) // the script is gone, too
}

func TestOptions(t *testing.T) {
	t.Parallel()
	if _, err := redisstore.NewBlocks(nil, redisstore.BlockOptions{Prefix: "a b"}); err == nil {
		t.Error("a prefix with a blank was taken")
	}
}
