package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// TestEquivalence: after any history of blocks, unblocks, expiries, rebuilds, disconnects, trims,
// new epochs and failovers that lose writes, the mirror's answers are those of a look-up in Redis,
// once both have come to rest.
func TestEquivalence(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		h := newHistory(t, rt, env, fmt.Sprint("ws-", runs))
		defer h.stop()
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			h.step()
		}
		h.compare()
	})
}

// A history is one random sequence of what happens.
type history struct {
	*rig

	rt    *rapid.T
	truth *memstore.Blocks  // permanent blocks, as Postgres has them
	saved map[string]string // what a replica has of all keys
	end   func()
}

func newHistory(t *testing.T, rt *rapid.T, env *testenv.PrivateRedisEnv, prefix string) *history {
	h := &history{rt: rt, rig: newRig(t, env.Client, prefix, WithPermanentTier()), truth: memstore.NewBlocks(time.Now)}
	h.remote = redislookup.New(env.Client, redislookup.WithKeyPrefix(prefix), redislookup.WithPermanentTier())
	if rapid.Bool().Draw(rt, "loaded") {
		h.rebuild()
	}
	h.end = h.run()
	return h
}

func (h *history) stop() {
	h.end()
	h.must(h.mirror.client.Close())
}

func (h *history) step() {
	ctx := context.Background()
	switch rapid.SampledFrom([]string{
		"temporary", "temporary", "temporary", "short", "permanent", "unblock", "unblock", "rebuild", "cut", "trim", "head", "stream", "hash", "save", "failover", "rest",
	}).Draw(h.rt, "step") {
	case "temporary":
		h.write(time.Duration(rapid.IntRange(1, 100).Draw(h.rt, "minutes")) * time.Minute)
	case "short":
		h.write(time.Duration(rapid.IntRange(1, 60).Draw(h.rt, "milliseconds")) * time.Millisecond)
	case "permanent":
		h.confirm()
	case "unblock":
		s := h.scope()
		_, err := h.truth.Unblock(ctx, store.Revocation{Scope: s, At: time.Now()})
		h.must(err)
		h.unblock(s)
	case "rebuild":
		h.rebuild()
	case "cut":
		h.wires.cut()
	case "trim":
		h.must(h.client.XTrimMaxLen(ctx, h.keys.Changes(), 0).Err())
	case "head":
		h.must(h.client.Del(ctx, h.keys.ChangesHead()).Err())
	case "stream":
		h.must(h.client.Del(ctx, h.keys.Changes()).Err())
	case "hash":
		h.must(h.client.Del(ctx, h.keys.Permanent()).Err())
	case "save":
		h.save()
	case "failover":
		h.failover()
	case "rest":
		h.compare()
	}
}

var pool = []string{
	"10.1.2.3", "10.1.2.4", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.2/31", "10.0.0.0/7", "2001:db8::1", "2001:db8::/64", "2001:db8::/33", "fe80::1%x",
}

func (h *history) scope() checker.Scope {
	if rapid.Bool().Draw(h.rt, "address") {
		return ip(rapid.SampledFrom(pool).Draw(h.rt, "ip"))
	}
	return scopeOf(rapid.SampledFrom([]string{"user", "username", "session", "tenant"}).Draw(h.rt, "type"), rapid.SampledFrom([]string{"a", "b:{c}", "é"}).Draw(h.rt, "value"))
}

func (h *history) write(ttl time.Duration) {
	scopes := make([]checker.Scope, rapid.IntRange(1, 3).Draw(h.rt, "scopes"))
	for i := range scopes {
		scopes[i] = h.scope()
	}
	h.put(ttl, scopes...)
}

// confirm puts a permanent block in both tiers.
func (h *history) confirm() {
	all := puts(h.scope())
	_, err := h.truth.Put(context.Background(), all)
	h.must(err)
	_, err = h.blocks.Confirm(context.Background(), all)
	h.must(err)
}

func (h *history) rebuild() {
	_, err := h.blocks.Rebuild(context.Background(), h.truth.Each)
	h.must(err)
}

func (h *history) all() []string {
	keys, err := h.client.Keys(context.Background(), h.keys.Prefix+":*").Result()
	h.must(err)
	return keys
}

// save notes all keys as a replica has them; failover makes them those of the server.
func (h *history) save() {
	h.saved = map[string]string{}
	for _, key := range h.all() {
		value, err := h.client.Dump(context.Background(), key).Result()
		if !errors.Is(err, redis.Nil) { // it ended meanwhile
			h.must(err)
			h.saved[key] = value
		}
	}
}

func (h *history) failover() {
	ctx := context.Background()
	h.wires.cut()
	_, err := h.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range h.all() {
			p.Del(ctx, key)
		}
		for key, value := range h.saved {
			p.RestoreReplace(ctx, key, time.Hour, value)
		}
		return nil
	})
	h.must(err)
}

// compare waits until the mirror says of every subject what Redis does.
func (h *history) compare() {
	h.t.Helper()
	subjects := []checker.Subject{
		{IP: addr("10.1.2.3")},
		{IP: addr("10.1.2.4"), User: "a"},
		{IP: addr("11.9.9.9"), Session: "b:{c}"},
		{IP: addr("::ffff:10.1.2.2"), Username: "é"},
		{IP: addr("2001:db8::1"), Extra: map[string]string{"tenant": "é"}},
		{IP: addr("2001:db8::2"), User: "b:{c}", Extra: map[string]string{"tenant": "a"}},
		{IP: addr("2001:db8:8000::1"), Username: "a"},
		{User: "é"},
		{Session: "a"},
	}
	testenv.Eventually(h.t, soon, func() error {
		for _, s := range subjects {
			if err := h.differs(s); err != nil {
				return fmt.Errorf("%+v: %w (%+v)", s, err, h.mirror.Status())
			}
		}
		return nil
	})
}

// differs asks Redis for every range that contains the address, which the mirror finds by itself.
func (h *history) differs(s checker.Subject) error {
	scopes := []checker.Scope{user(s.User), scopeOf("username", s.Username), scopeOf("session", s.Session), scopeOf("tenant", s.Extra["tenant"])}
	wide := scopes
	if s.IP.IsValid() {
		a := s.IP.Unmap()
		scopes = append(scopes, checker.IPScope(a, 0))
		wide = append(wide, checker.IPScope(a, 0))
		for bits := range a.BitLen() {
			wide = append(wide, ip(netip.PrefixFrom(a, bits).Masked().String()))
		}
	}
	isClean := h.mirror.Clean(s)
	ours, err := h.mirror.Lookup(context.Background(), scopes)
	theirs, theirErr := h.remote.Lookup(context.Background(), wide)
	if cold := errors.Is(theirErr, redislookup.ErrCold); cold && errors.Is(err, redislookup.ErrCold) && !isClean {
		return nil // both don't know, and say so
	}
	if err := errors.Join(err, theirErr); err != nil {
		return err
	}
	if len(theirs) > 0 && isClean {
		return fmt.Errorf("%w: clean, and blocked by %+v", errDiffers, theirs)
	}
	return same(ours, theirs)
}
