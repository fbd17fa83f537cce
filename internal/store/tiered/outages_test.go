package tiered_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestTiersAgreeAfterOutages blocks and unblocks while connections to either store are cut, before
// what was asked for is done or after it. Workers deliver again what failed, operators unblock
// again, and a reconciler makes a pass: then each scope is blocked as matches later than its last
// unblock have it, in both tiers.
func TestTiersAgreeAfterOutages(t *testing.T) {
	t.Parallel()
	env, pg := testenv.Redis(t), testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	durable := &cutPostgres{Blocks: newDurable(t, pg.Pool, pgstore.Options{})}
	opts, err := redis.ParseURL(env.URL)
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries = -1
	link := &cutRedis{client: redis.NewClient(opts)}
	t.Cleanup(func() { _ = link.client.Close() })
	link.client.AddHook(link)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		if _, err := pg.Pool.Exec(context.Background(), "DELETE FROM permanent_blocks"); err != nil {
			rt.Fatalf("start afresh: %v", err)
		}
		prefix := fmt.Sprintf("%s-%d", env.Prefix, runs)
		cache := newCache(t, link.client, redisstore.BlockOptions{Prefix: prefix})
		o := &outages{
			rt: rt, link: link, durable: durable, clock: time.Now().Add(-30 * time.Minute).UTC().Truncate(time.Second),
			r:         &rig{Blocks: tiered.New(cache, durable, tiered.Options{}), cache: cache, durable: durable.Blocks, client: env.Client, prefix: prefix, keys: rediskey.Keys{Prefix: prefix}},
			unblocked: map[string]time.Time{}, failed: map[string]bool{},
		}
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			o.step()
		}
		o.recover()
		o.compare()
	})
}

// A fault is what is wrong with the way to a store.
type fault int

const (
	well    fault = iota
	refused       // nothing arrives
	silent        // all arrives, no reply does
)

var errCut = errors.New("connection is cut")

// meet does what a store is asked for, as far as the fault lets it.
func (f fault) meet(do func() error) error {
	if f == refused {
		return errCut
	}
	if err := do(); err != nil || f == well {
		return err
	}
	return errCut
}

type cutRedis struct {
	client *redis.Client
	fault  fault
}

func (c *cutRedis) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *cutRedis) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := c.fault.meet(func() error { return next(ctx, cmd) })
		if errors.Is(err, errCut) {
			cmd.SetErr(err)
		}
		return err
	}
}

func (c *cutRedis) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := c.fault.meet(func() error { return next(ctx, cmds) })
		for _, cmd := range cmds {
			if c.fault != well {
				cmd.SetErr(errCut)
			}
		}
		return err
	}
}

type cutPostgres struct {
	*pgstore.Blocks

	fault fault
}

func (c *cutPostgres) Put(ctx context.Context, puts []store.Put) (results []store.Result, err error) {
	err = c.fault.meet(func() error { results, err = c.Blocks.Put(ctx, puts); return err })
	return results, err
}

func (c *cutPostgres) Unblock(ctx context.Context, r store.Revocation) (blocks []checker.Block, err error) {
	err = c.fault.meet(func() error { blocks, err = c.Blocks.Unblock(ctx, r); return err })
	return blocks, err
}

func (c *cutPostgres) Lookup(ctx context.Context, scopes []checker.Scope) (blocks []checker.Block, err error) {
	err = c.fault.meet(func() error { blocks, err = c.Blocks.Lookup(ctx, scopes); return err })
	return blocks, err
}

func (c *cutPostgres) Each(ctx context.Context, fn func(checker.Block) error) error {
	return c.fault.meet(func() error { return c.Blocks.Each(ctx, fn) })
}

func (c *cutPostgres) Changed(ctx context.Context, since time.Time, limit int) (scopes []checker.Scope, err error) {
	err = c.fault.meet(func() error { scopes, err = c.Blocks.Changed(ctx, since, limit); return err })
	return scopes, err
}

// outages are one run, and what is known of it.
type outages struct {
	rt      *rapid.T
	r       *rig
	link    *cutRedis
	durable *cutPostgres

	clock     time.Time
	puts      []store.Put          // all of them
	pending   []store.Put          // those that failed
	unblocked map[string]time.Time // the last time, by scope
	failed    map[string]bool      // unblocks that failed
}

func (o *outages) step() {
	faults := []fault{well, well, refused, silent}
	if rapid.IntRange(0, 2).Draw(o.rt, "weather") == 0 {
		o.link.fault, o.durable.fault = rapid.SampledFrom(faults).Draw(o.rt, "Redis"), rapid.SampledFrom(faults).Draw(o.rt, "Postgres")
	}
	name := rapid.SampledFrom([]string{"0", "1"}).Draw(o.rt, "scope")
	switch rapid.SampledFrom([]string{"permanent", "permanent", "temporary", "temporary", "unblock", "reconcile", "again", "recover"}).Draw(o.rt, "step") {
	case "permanent":
		o.put(o.match(name), true)
	case "temporary":
		p := o.match(name)
		p.Block.ExpiresAt = o.clock.Add(time.Duration(rapid.IntRange(1, 5).Draw(o.rt, "hours")) * time.Hour)
		o.put(p, true)
	case "unblock":
		o.unblock(name)
	case "reconcile":
		_, _ = tiered.NewReconciler(o.r.Blocks, tiered.ReconcilerOptions{}).Reconcile(context.Background()) // the next pass makes up for it
	case "again":
		if len(o.puts) > 0 { // a redelivery of what was acked, too
			o.put(rapid.SampledFrom(o.puts).Draw(o.rt, "which"), false)
		}
	case "recover":
		o.recover()
	}
}

func (o *outages) match(scope string) store.Put {
	o.clock = o.clock.Add(time.Second)
	return store.Put{EvidenceTime: o.clock, Block: checker.Block{
		ID: fmt.Sprint("e", len(o.puts)), Scope: user(scope), Rule: "r", StatusCode: 403, Message: "m", CreatedAt: o.clock,
	}}
}

// put puts a block. While Postgres alone is out of reach a permanent one is in effect all the same.
func (o *outages) put(p store.Put, first bool) {
	if first {
		o.puts = append(o.puts, p)
	}
	results, err := o.r.Put(context.Background(), []store.Put{p})
	switch {
	case err != nil && o.link.fault == well:
		o.rt.Fatalf("Put while Redis is there: %v", err)
	case err == nil && results[0].Err == nil:
		return
	case err == nil && o.link.fault == well:
		found, err := o.r.cache.Lookup(context.Background(), []checker.Scope{p.Block.Scope})
		refused := results[0].Outcome == store.Unblocked
		if err != nil || !refused && (len(found) != 1 || p.Block.Permanent() && !found[0].Permanent()) {
			o.rt.Fatalf("%+v isn't in effect while Postgres is away: %+v, %v", p, found, err)
		}
	}
	o.pending = append(o.pending, p)
}

func (o *outages) unblock(scope string) {
	o.clock = o.clock.Add(time.Second)
	o.unblocked[scope] = o.clock
	_, err := o.r.Unblock(context.Background(), store.Revocation{Scope: user(scope), At: o.clock})
	if o.failed[scope] = err != nil; err != nil && o.link.fault == well && o.durable.fault == well {
		o.rt.Fatalf("Unblock while both stores are there: %v", err)
	}
}

// recover has all stores back, and what failed done again.
func (o *outages) recover() {
	o.link.fault, o.durable.fault = well, well
	for _, scope := range slices.Sorted(maps.Keys(o.failed)) {
		if o.failed[scope] {
			o.unblock(scope)
		}
	}
	pending := o.pending
	o.pending = nil
	for _, p := range pending {
		o.put(p, false)
	}
	if len(o.pending) > 0 {
		o.rt.Fatalf("%+v still fails", o.pending)
	}
}

func (o *outages) compare() {
	ctx := context.Background()
	if _, err := tiered.NewReconciler(o.r.Blocks, tiered.ReconcilerOptions{}).Reconcile(ctx); err != nil {
		o.rt.Fatalf("reconcile: %v", err)
	}
	members, err := o.r.client.HGetAll(ctx, o.r.keys.Permanent()).Result()
	if _, complete := members[rediskey.CompleteField]; err != nil || !complete {
		o.rt.Fatalf("membership hash %v, %v", members, err)
	}
	for _, name := range []string{"0", "1"} {
		var want checker.Block // the strongest of those later than the last unblock
		for _, p := range o.puts {
			if p.Block.Scope == user(name) && p.EvidenceTime.After(o.unblocked[name]) && (want.Scope.Type == "" || p.Block.Stronger(want)) {
				want = p.Block
			}
		}
		permanent := want.Scope.Type != "" && want.Permanent()
		found, err := o.r.Lookup(ctx, []checker.Scope{user(name)})
		rows, rowsErr := o.r.durable.Lookup(ctx, []checker.Scope{user(name)})
		if err != nil || rowsErr != nil {
			o.rt.Fatalf("Lookup: %v, %v", err, rowsErr)
		}
		_, member := members[rediskey.MemberField(user(name))]
		held := len(found) == 1 && found[0].ExpiresAt.Equal(want.ExpiresAt) || len(found) == 0 && want.Scope.Type == ""
		if !held || member != permanent || (len(rows) == 1) != permanent {
			o.rt.Fatalf("scope %s: found %+v, want %+v; a member: %t; rows %+v", name, found, want, member, rows)
		}
	}
}
