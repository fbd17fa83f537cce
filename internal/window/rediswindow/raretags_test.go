package rediswindow_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/rediswindow"
)

// recorder is a window.Store that notes the operations it is given.
type recorder struct {
	window.Store

	got []window.Op
}

func (r *recorder) Apply(ctx context.Context, ops []window.Op) ([]window.Count, error) {
	r.got = append(r.got, ops...)
	return r.Store.Apply(ctx, ops)
}

// A tagger is one worker's RareTags.
type tagger struct {
	t     *testing.T
	inner *recorder
	store *rediswindow.RareTags
	now   time.Time
	spec  *window.Spec
}

func newTagger(t *testing.T, env *testenv.RedisEnv, spec *window.Spec) *tagger {
	t.Helper()
	w := &tagger{t: t, inner: &recorder{Store: rediswindow.New(env.Client, env.Prefix, nil)}, now: epoch, spec: spec}
	w.store = rediswindow.NewRareTags(w.inner, env.Client, env.Prefix, func() time.Time { return w.now })
	return w
}

var epoch = time.UnixMilli(1_800_000_000_000)

func rareSpec() *window.Spec {
	return &window.Spec{Name: "r", Threshold: 3, Length: time.Minute, Lateness: time.Minute, ClearsAll: true, RareTags: true}
}

func (w *tagger) add(second int, tag string) window.Op {
	return window.Op{Spec: w.spec, Group: "g", Time: epoch.Add(time.Duration(second) * time.Second), Member: fmt.Sprint(tag, second), Tag: tag}
}

func (w *tagger) clear(second int, tag string) window.Op {
	return window.Op{Spec: w.spec, Group: "g", Kind: window.Clear, Time: epoch.Add(time.Duration(second) * time.Second), Tag: tag}
}

// apply applies ops, reports the sizes, and says how many of them reached the windows.
func (w *tagger) apply(ops ...window.Op) (sizes []int, passed int) {
	w.t.Helper()
	w.inner.got = nil
	counts, err := w.store.Apply(w.t.Context(), ops)
	if err != nil {
		w.t.Fatal(err)
	}
	return window.Sizes(counts), len(w.inner.got)
}

func (w *tagger) want(ops []window.Op, sizes []int, passed int) {
	w.t.Helper()
	if got, n := w.apply(ops...); fmt.Sprint(got) != fmt.Sprint(sizes) || n != passed {
		w.t.Errorf("counts %v of %d operations passed on, want %v of %d", got, n, sizes, passed)
	}
}

func TestRareTagsClearsOfUnknownTagsAreLeftOut(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	w := newTagger(t, env, rareSpec())
	w.want([]window.Op{w.clear(1, "a"), w.add(2, ""), w.clear(3, "b")}, []int{0, 1, 0}, 1)
	w.want([]window.Op{w.clear(3, "a"), w.add(4, "a"), w.clear(5, "b"), w.add(6, "a")}, []int{0, 2, 0, 3}, 3)
	w.want([]window.Op{w.clear(6, "a"), w.add(7, "a")}, []int{0, 2}, 2)
	w.want([]window.Op{w.clear(8, "")}, []int{0}, 1) // every member's
	w.want(nil, nil, 0)

	other := *w.spec // a spec that has usual tags is left alone
	other.RareTags = false
	op := w.clear(9, "never seen")
	op.Spec = &other
	w.want([]window.Op{op}, []int{0}, 1)
}

func TestRareTagsAreSharedByWorkers(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	a, b := newTagger(t, env, rareSpec()), newTagger(t, env, rareSpec())
	b.want([]window.Op{b.clear(1, "x")}, []int{0}, 0)
	a.want([]window.Op{a.add(2, "x"), a.add(3, "x")}, []int{1, 2}, 2)
	b.now = b.now.Add(99 * time.Millisecond)
	b.want([]window.Op{b.clear(4, "x")}, []int{0}, 0) // not asked again yet
	b.now = b.now.Add(time.Millisecond)
	b.want([]window.Op{b.clear(4, "x")}, []int{0}, 1)
	a.want([]window.Op{a.add(5, "x")}, []int{1}, 1)

	late := newTagger(t, env, rareSpec()) // one that starts later learns at once
	late.now = epoch.Add(time.Hour)
	late.want([]window.Op{late.clear(6, "x"), late.clear(6, "y")}, []int{0, 0}, 1)

	ttl, err := env.Client.PTTL(t.Context(), rediskey.Keys{Prefix: env.Prefix}.WindowTags(a.spec.ID())).Result()
	if err != nil || ttl <= 0 || ttl > a.spec.TTL()+time.Hour {
		t.Errorf("the key lasts %s, %v", ttl, err)
	}
}

func TestRareTagsOverflowKeepsAllClears(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	a, b := newTagger(t, env, rareSpec()), newTagger(t, env, rareSpec())
	ops := make([]window.Op, 5000)
	for i := range ops {
		ops[i] = a.add(1, fmt.Sprint("made up ", i))
	}
	if _, passed := a.apply(ops...); passed != len(ops) {
		t.Fatalf("%d passed", passed)
	}
	a.want([]window.Op{a.clear(2, "never seen")}, []int{0}, 1)
	b.want([]window.Op{b.clear(2, "never seen")}, []int{0}, 1)
	n, err := env.Client.ZCard(t.Context(), rediskey.Keys{Prefix: env.Prefix}.WindowTags(a.spec.ID())).Result()
	if err != nil || n > 4200 {
		t.Errorf("Redis keeps %d tags, %v", n, err)
	}
}

func TestRareTagsReportTagAgainAfterOutage(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	spec := rareSpec()
	inner := rediswindow.New(env.Client, "p", nil)
	now := epoch
	s := rediswindow.NewRareTags(inner, env.Client, "p", func() time.Time { return now })
	op := window.Op{Spec: spec, Group: "g", Time: epoch, Member: "m", Tag: "x"}
	env.Kill()
	if _, err := s.Apply(t.Context(), []window.Op{op}); err == nil {
		t.Fatal("no error while Redis is gone")
	}
	env.Restart()
	testenv.Eventually(t, 30*time.Second, func() error {
		_, err := s.Apply(t.Context(), []window.Op{op})
		return err
	})
	key := rediskey.Keys{Prefix: "p"}.WindowTags(spec.ID())
	if n, err := env.Client.ZCard(t.Context(), key).Result(); err != nil || n != 1 {
		t.Fatalf("%d tags in Redis, %v", n, err)
	}
	if err := env.Client.Del(t.Context(), key).Err(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(spec.TTL() + time.Hour) // more than half of how long it is known
	if _, err := s.Apply(t.Context(), []window.Op{op}); err != nil {
		t.Fatal(err)
	}
	got, err := env.Client.ZRangeArgsWithScores(t.Context(), redis.ZRangeArgs{Key: key, Start: 0, Stop: -1}).Result()
	if err != nil || len(got) != 1 || int64(got[0].Score) != now.UnixMilli() {
		t.Errorf("tags %v, %v", got, err)
	}
}
