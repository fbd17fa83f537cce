package redisstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A follower reads the stream of changes.
type follower struct {
	t      *testing.T
	client redis.UniversalClient
	keys   rediskey.Keys
	at     wire.Position
}

// next returns what was announced since the last call, and fails unless it is contiguous and the
// head says the same.
func (f *follower) next() []string {
	f.t.Helper()
	entries, err := f.client.XRange(f.t.Context(), f.keys.Changes(), "("+max(f.at.ID, "0"), "+").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	news := []string{}
	for _, e := range entries {
		c, err := wire.ReadChange(e.ID, e.Values)
		if err != nil || !c.Follows(f.at) {
			f.t.Fatalf("%+v doesn't follow %+v (%v)", c, f.at, err)
		}
		f.at = c.At
		if c.All {
			news = append(news, wire.AllChanged)
		}
		for _, s := range c.Scopes {
			news = append(news, s.Value)
		}
	}
	if head, err := wire.ReadPosition(f.client.Get(f.t.Context(), f.keys.ChangesHead()).Val()); len(entries) > 0 && (err != nil || head != f.at) {
		f.t.Fatalf("the head is %+v, %v; want %+v", head, err, f.at)
	}
	return news
}

func (f *follower) want(when string, values ...string) {
	f.t.Helper()
	if got := f.next(); !slices.Equal(got, values) {
		f.t.Errorf("%s: announced %q, want %q", when, got, values)
	}
}

// TestChangesAreAnnounced: whatever changes an answer is announced, and what changes none isn't.
func TestChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (redis.UniversalClient, string){
		"one server": func(t *testing.T) (redis.UniversalClient, string) {
			env := testenv.Redis(t)
			return env.Client, env.Prefix
		},
		"cluster": func(t *testing.T) (redis.UniversalClient, string) { return storetest.Cluster(t), "ws-test" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, prefix := open(t)
			b := newBlocks(t, client, redisstore.BlockOptions{Prefix: prefix})
			announces(t, b, &follower{t: t, client: client, keys: rediskey.Keys{Prefix: prefix}})
			if _, ok := client.(*redis.Client); ok {
				storetest.AllExpire(t, client, prefix)
			}
		})
	}
}

func announces(t *testing.T, b *redisstore.Blocks, f *follower) {
	t.Helper()
	first, longer, shorter := block(user("a"), "1", false), block(user("a"), "2", false), block(user("a"), "3", false)
	longer.Block.ExpiresAt, shorter.Block.ExpiresAt = longer.Block.ExpiresAt.Add(time.Hour), shorter.EvidenceTime.Add(time.Minute)
	late := block(user("late"), "1", false)
	late.Block.ExpiresAt = time.Now().Add(-time.Minute)
	mustPut(t, b, first, block(user("b"), "1", true), late)
	f.want("two begin", "a", "b")
	mustPut(t, b, first)
	f.want("a redelivery", "a")
	mustPut(t, b, shorter)
	f.want("a weaker one")
	mustPut(t, b, longer)
	f.want("an extension", "a")
	mustPut(t, b, longer)
	f.want("its redelivery", "a")
	mustPut(t, b, block(user("a"), "4", true))
	f.want("becoming permanent", "a")
	wish := block(user("b"), "5", true)
	wish.EvidenceTime = time.Time{}
	mustPut(t, b, wish)
	f.want("an operator's attributes", "b")
	if _, err := b.Unblock(t.Context(), store.Revocation{Scope: user("a"), At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	f.want("an unblock", "a")

	truth := memstore.NewBlocks(time.Now)
	rebuild(t, b, truth)
	f.want("the first rebuild", wire.AllChanged)
	rebuild(t, b, truth)
	f.want("another like it")
	c := block(user("c"), "1", true)
	if _, err := b.Confirm(t.Context(), []store.Put{c}); err != nil {
		t.Fatal(err)
	}
	f.want("a confirmed block", "c")
	if n, err := b.Sync(t.Context(), []checker.Scope{user("c")}, truth.Lookup); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	f.want("a block that Postgres doesn't have", "c")
	mustPut(t, truth, c)
	if n, err := b.Sync(t.Context(), []checker.Scope{user("c")}, truth.Lookup); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	f.want("one that only Postgres had", "c")
	rebuild(t, b, memstore.NewBlocks(time.Now))
	f.want("a rebuild that repairs", wire.AllChanged)
	if n, err := b.Sweep(t.Context(), memstore.NewBlocks(time.Now).Lookup); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	f.want("a swept copy", "c")
}

// TestAnnouncementsAreBounded: entries and stream stay small, and a scope is named once a batch.
// Values that are hashed in keys take room no longer than that.
func TestAnnouncementsAreBounded(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	f := &follower{t: t, client: env.Client, keys: rediskey.Keys{Prefix: env.Prefix}}
	puts := make([]store.Put, 301)
	for i := range 300 {
		puts[i] = block(user(fmt.Sprint(i%200)), fmt.Sprint(i), false)
		puts[i].Block.ExpiresAt = puts[i].Block.ExpiresAt.Add(time.Duration(i) * time.Second)
	}
	puts[300] = block(user(strings.Repeat("x", 5000)), "long", false)
	mustPut(t, b, puts...)
	if got := f.next(); len(got) != 200 {
		t.Errorf("announced %d scopes, want 200", len(got))
	}
	entries := env.Client.XRange(t.Context(), f.keys.Changes(), "-", "+").Val()
	if len(entries) != 4 {
		t.Errorf("%d entries, want 4", len(entries))
	}
	for _, e := range entries {
		for _, v := range e.Values {
			if len(v.(string)) > 300 {
				t.Errorf("a value of %d bytes", len(v.(string)))
			}
		}
	}
	for i := range 12 {
		batch := make([]store.Put, 512)
		for j := range batch {
			batch[j] = block(user(fmt.Sprint("x", i, "-", j)), "a", false)
		}
		mustPut(t, b, batch...)
	}
	f.next()
	if err := env.Client.XTrimMaxLen(t.Context(), f.keys.Changes(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, block(user("after"), "a", false)) // an empty stream is a stream
	f.want("after a trim", "after")
}

// TestLostChangesStreamBeginsNewEpoch: a stream or a head that went away begins a new epoch.
func TestLostChangesStreamBeginsNewEpoch(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	keys := rediskey.Keys{Prefix: env.Prefix}
	epoch := func() string {
		mustPut(t, b, block(user("a"), "a", false))
		p, err := wire.ReadPosition(env.Client.Get(t.Context(), keys.ChangesHead()).Val())
		if err != nil {
			t.Fatal(err)
		}
		return p.Epoch
	}
	seen := map[string]bool{}
	for _, gone := range []string{"nothing", keys.Changes(), keys.ChangesHead()} {
		env.Client.Del(t.Context(), gone)
		if e := epoch(); seen[e] {
			t.Errorf("with %s gone the epoch stays", gone)
		} else if seen[e] = true; epoch() != e {
			t.Error("an epoch lasts one change")
		}
	}
}

// TestFailedAnnouncementIsAnError: a change that was not announced has to be made again.
func TestFailedAnnouncementIsAnError(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	keys := rediskey.Keys{Prefix: env.Prefix}
	if err := env.Client.Set(t.Context(), keys.Changes(), "no stream", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	p := block(user("a"), "a", false)
	if _, err := b.Put(t.Context(), []store.Put{p}); !store.Unavailable(err) {
		t.Errorf("Put: %v", err)
	}
	if _, err := b.Unblock(t.Context(), store.Revocation{Scope: user("a")}); err == nil {
		t.Error("Unblock reports no error")
	}
	if _, err := b.Confirm(t.Context(), []store.Put{p}); err == nil || errors.Is(err, store.ErrUnstorable) {
		t.Errorf("Confirm: %v", err)
	}
}
