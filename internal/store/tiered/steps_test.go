package tiered_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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

// TestEveryInterleaving has workers, operators and reconcilers work on the same scopes, one access
// to a store at a time, in a random order. Once all are done, whatever the order was,
//
//   - a membership hash that says it is complete is what Postgres says, and so are the copies then; without one there
//     may be copies too few, as Postgres is asked, never one too many;
//   - a scope that an operator unblocked, with no match later than that, isn't blocked; one that was not unblocked and
//     was blocked is.
func TestEveryInterleaving(t *testing.T) {
	t.Parallel()
	env, pg := testenv.Redis(t), testenv.Postgres(t)
	storetest.Migrate(t, pg.Pool)
	durable := newDurable(t, pg.Pool, pgstore.Options{})
	var steppers []*stepper
	for range 4 {
		steppers = append(steppers, newStepper(t, env.URL, durable))
	}
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		if _, err := pg.Pool.Exec(context.Background(), "DELETE FROM permanent_blocks"); err != nil {
			rt.Fatalf("start afresh: %v", err)
		}
		prefix := fmt.Sprintf("%s-%d", env.Prefix, runs)
		r := &rig{
			cache: newCache(t, env.Client, redisstore.BlockOptions{Prefix: prefix}), durable: durable,
			client: env.Client, prefix: prefix, keys: rediskey.Keys{Prefix: prefix},
		}
		r.Blocks = tiered.New(r.cache, durable, tiered.Options{})
		newRace(t, rt, r, steppers[:rapid.IntRange(2, 4).Draw(rt, "actors")]).run()
	})
}

// A stepper does one thing after the other, but stops before each access to a store until it may go
// on.
type stepper struct {
	*pgstore.Blocks

	client *redis.Client
	next   chan struct{} // go on
	at     chan bool     // it stopped; true: it is done
}

func newStepper(t *testing.T, url string, durable *pgstore.Blocks) *stepper {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries, opts.PoolSize = -1, 1
	s := &stepper{Blocks: durable, client: redis.NewClient(opts), next: make(chan struct{}), at: make(chan bool)}
	t.Cleanup(func() { _ = s.client.Close() })
	if err := s.client.Ping(t.Context()).Err(); err != nil { // what connects isn't a step
		t.Fatal(err)
	}
	s.client.AddHook(s)
	return s
}

func (s *stepper) stop() {
	s.at <- false
	<-s.next
}

func (s *stepper) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *stepper) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.stop()
		return next(ctx, cmd)
	}
}

func (s *stepper) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		s.stop()
		return next(ctx, cmds)
	}
}

func (s *stepper) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	s.stop()
	return s.Blocks.Put(ctx, puts)
}

func (s *stepper) Unblock(ctx context.Context, r store.Revocation) ([]checker.Block, error) {
	s.stop()
	return s.Blocks.Unblock(ctx, r)
}

func (s *stepper) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	s.stop()
	return s.Blocks.Lookup(ctx, scopes)
}

func (s *stepper) Each(ctx context.Context, fn func(checker.Block) error) error {
	s.stop()
	return s.Blocks.Each(ctx, fn)
}

func (s *stepper) Changed(ctx context.Context, since time.Time, limit int) ([]checker.Scope, error) {
	s.stop()
	return s.Blocks.Changed(ctx, since, limit)
}

// A deed is one thing that an actor does.
type deed struct {
	name string
	do   func(ctx context.Context, b *tiered.Blocks, cache *redisstore.Blocks, durable *stepper) error
}

// A race is one run: the steppers, and the order of their steps.
type race struct {
	t     *testing.T
	rt    *rapid.T
	r     *rig
	base  time.Time
	who   []*stepper
	deeds [][]deed
	order []int
	trace []string

	latest, unblocked map[string]time.Time // of a scope: the latest match, the latest unblock
}

const raceScopes = 2

// newRace draws everything before the first step.
func newRace(t *testing.T, rt *rapid.T, r *rig, who []*stepper) *race {
	x := &race{
		t: t, rt: rt, r: r, who: who, base: time.Now().Add(-30 * time.Minute).UTC().Truncate(time.Second),
		latest: map[string]time.Time{}, unblocked: map[string]time.Time{},
	}
	before := rapid.SampledFrom([]string{"missing", "complete", "incomplete"}).Draw(rt, "membership hash")
	if before != "missing" {
		warm(t, r.Blocks)
	}
	for i := range raceScopes {
		if rapid.Bool().Draw(rt, "blocked before") {
			x.latest[fmt.Sprint(i)] = x.base
			put(t, r.Blocks, x.match(fmt.Sprint(i), "before", x.base), store.Began)
		}
	}
	if before == "incomplete" {
		r.client.HDel(context.Background(), r.keys.Permanent(), rediskey.CompleteField)
	}
	for i := range who {
		var deeds []deed
		for j := range rapid.IntRange(1, 2).Draw(rt, "deeds") {
			deeds = append(deeds, x.draw(fmt.Sprintf("a%d-%d", i, j)))
		}
		x.deeds = append(x.deeds, deeds)
	}
	x.order = rapid.SliceOfN(rapid.IntRange(0, len(who)-1), 40, 80).Draw(rt, "order")
	return x
}

func (x *race) match(scope, id string, at time.Time) store.Put {
	return store.Put{EvidenceTime: at, Block: checker.Block{ID: id, Scope: user(scope), Rule: "r", StatusCode: 403, Message: "m", CreatedAt: at}}
}

func (x *race) draw(id string) deed {
	scope := fmt.Sprint(rapid.IntRange(0, raceScopes-1).Draw(x.rt, "scope"))
	at := x.base.Add(time.Duration(rapid.IntRange(1, 5).Draw(x.rt, "at")) * time.Second)
	switch name := rapid.SampledFrom([]string{"block", "block", "unblock", "rebuild", "reconcile", "evict"}).Draw(x.rt, "deed"); name {
	case "block":
		x.latest[scope] = later(x.latest[scope], at)
		return deed{"block " + scope, func(ctx context.Context, b *tiered.Blocks, _ *redisstore.Blocks, _ *stepper) error {
			results, err := b.Put(ctx, []store.Put{x.match(scope, id, at)})
			if err == nil {
				err = results[0].Err
			}
			return err
		}}
	case "unblock":
		x.unblocked[scope] = later(x.unblocked[scope], at)
		return deed{"unblock " + scope, func(ctx context.Context, b *tiered.Blocks, _ *redisstore.Blocks, _ *stepper) error {
			_, err := b.Unblock(ctx, store.Revocation{Scope: user(scope), At: at})
			return err
		}}
	case "rebuild":
		return deed{name, func(ctx context.Context, _ *tiered.Blocks, cache *redisstore.Blocks, durable *stepper) error {
			_, err := cache.Rebuild(ctx, durable.Each)
			return err
		}}
	case "evict":
		return deed{name, func(ctx context.Context, _ *tiered.Blocks, _ *redisstore.Blocks, durable *stepper) error {
			return durable.client.Del(ctx, x.r.keys.Permanent()).Err()
		}}
	}
	return deed{"reconcile", func(ctx context.Context, b *tiered.Blocks, _ *redisstore.Blocks, _ *stepper) error {
		_, err := tiered.NewReconciler(b, tiered.ReconcilerOptions{}).Reconcile(ctx)
		return err
	}}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// run lets one after the other take a step, as drawn, and looks at the stores once all are done.
func (x *race) run() {
	failures := make([]error, len(x.who))
	for i, s := range x.who {
		cache := newCache(x.t, s.client, redisstore.BlockOptions{Prefix: x.r.prefix})
		blocks := tiered.New(cache, s, tiered.Options{})
		go func() {
			<-s.next
			for _, d := range x.deeds[i] {
				if err := d.do(context.Background(), blocks, cache, s); err != nil && !errors.Is(err, store.ErrConflict) {
					failures[i] = errors.Join(failures[i], fmt.Errorf("%s: %w", d.name, err))
				}
			}
			s.at <- true
		}()
	}
	busy := slices.Clone(x.who)
	for n := 0; len(busy) > 0; n++ {
		i := x.order[n%len(x.order)] % len(busy)
		x.trace = append(x.trace, fmt.Sprint(slices.Index(x.who, busy[i])))
		busy[i].next <- struct{}{}
		if <-busy[i].at {
			busy = slices.Delete(busy, i, i+1)
		}
	}
	if err := errors.Join(failures...); err != nil {
		x.rt.Fatalf("%v", err)
	}
	x.compare()
}

func (x *race) compare() {
	ctx := context.Background()
	members, err := x.r.client.HGetAll(ctx, x.r.keys.Permanent()).Result()
	if err != nil {
		x.rt.Fatalf("read membership hash: %v", err)
	}
	_, complete := members[rediskey.CompleteField]
	for i := range raceScopes {
		name := fmt.Sprint(i)
		rows, err := x.r.durable.Lookup(ctx, []checker.Scope{user(name)})
		if err != nil {
			x.rt.Fatalf("ask Postgres: %v", err)
		}
		truth := len(rows) > 0
		_, member := members[rediskey.MemberField(user(name))]
		copied := x.r.client.Exists(ctx, x.r.keys.Block(user(name))).Val() == 1
		var wrong []string
		if complete && (member != truth || copied != truth) || copied && !truth {
			wrong = append(wrong, fmt.Sprintf("in Postgres %t, in the hash %t (complete: %t), a copy %t", truth, member, complete, copied))
		}
		matched, revoked := x.latest[name], x.unblocked[name]
		if truth && !matched.After(revoked) {
			wrong = append(wrong, "blocked by what came before its unblock")
		}
		if !truth && !matched.IsZero() && revoked.IsZero() {
			wrong = append(wrong, "not blocked, and not unblocked")
		}
		if len(wrong) > 0 {
			x.rt.Fatalf("scope %s: %s\ndeeds %s\nsteps %s", name, strings.Join(wrong, "; "), x.history(), strings.Join(x.trace, " "))
		}
	}
}

// history lists the steps of each worker.
func (x *race) history() string {
	var out []string
	for i, deeds := range x.deeds {
		for _, d := range deeds {
			out = append(out, fmt.Sprintf("%d: %s", i, d.name))
		}
	}
	return strings.Join(out, ", ")
}
