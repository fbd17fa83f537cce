package rediswindow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/rediswindow"
)

func apply(t *testing.T, s window.Store, ops ...window.Op) []window.Count {
	t.Helper()
	counts, err := s.Apply(t.Context(), ops)
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// overfill makes a window's log so long that it is compacted along with the next batch.
func overfill(t *testing.T, s window.Store, spec *window.Spec, group string, at time.Time) (members int) {
	t.Helper()
	for members < 2*spec.Capacity()+1 {
		apply(t, s, window.Op{Spec: spec, Group: group, Time: at, Member: fmt.Sprint(group, members)})
		members++
	}
	return members
}

// TestCompactedWindowExpires: a compaction goes along with a batch that may touch other windows
// alone, so that nothing else gives the window its TTL.
func TestCompactedWindowExpires(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	s := rediswindow.New(env.Client, env.Prefix, nil)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Minute, MaxClears: window.NeverCleared}
	at := time.UnixMilli(1_800_000_000_000)
	key := rediskey.Keys{Prefix: env.Prefix}.Window(spec.ID(), "full")
	overfill(t, s, spec, "full", at)
	long := env.Client.StrLen(t.Context(), key).Val()
	apply(t, s, window.Op{Spec: spec, Group: "other", Time: at, Member: "m"})
	if short := env.Client.StrLen(t.Context(), key).Val(); short >= long {
		t.Fatalf("%d bytes, %d before: it was not compacted", short, long)
	}
	if ttl := env.Client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > spec.TTL() {
		t.Errorf("the TTL of a compacted window is %s", ttl)
	}
}

// TestSecondCompactionChangesNothing: where two workers would compact the same log the second sees
// that it is not the first, though the log is as long again by then.
func TestSecondCompactionChangesNothing(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	first, second, third := rediswindow.New(env.Client, env.Prefix, nil), rediswindow.New(env.Client, env.Prefix, nil), rediswindow.New(env.Client, env.Prefix, nil)
	spec := &window.Spec{Name: "r", Threshold: 30, Length: time.Minute, MaxClears: window.NeverCleared}
	at := time.UnixMilli(1_800_000_000_000)
	elsewhere := window.Op{Spec: spec, Group: "other", Time: at, Member: "m"}
	overfill(t, first, spec, "full", at)
	apply(t, second, window.Op{Spec: spec, Group: "full", Time: at, Member: "of the second"})
	apply(t, first, elsewhere) // compacts; the second has yet to
	later := at.Add(time.Hour) // what the second knows nothing of, and what counts then
	ops := make([]window.Op, spec.Capacity())
	for i := range ops {
		ops[i] = window.Op{Spec: spec, Group: "full", Time: later, Member: fmt.Sprint("later", i)}
	}
	apply(t, third, ops...)
	apply(t, second, elsewhere)
	if n := apply(t, third, window.Op{Spec: spec, Group: "full", Kind: window.Read, Time: later})[0].Size; n != spec.Capacity() {
		t.Errorf("%d members are left, want %d", n, spec.Capacity())
	}
}

// TestOlderClearDoesNotReplaceNewer: clears come in any order, from any worker.
func TestOlderClearDoesNotReplaceNewer(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Hour, Lateness: 5 * time.Minute}
	at := time.UnixMilli(1_800_000_000_000)
	for _, after := range []time.Duration{time.Minute, 0, 30 * time.Second} {
		apply(t, rediswindow.New(env.Client, env.Prefix, nil), window.Op{Spec: spec, Group: "g", Kind: window.Clear, Time: at.Add(after), Tag: "ann"})
	}
	key := rediskey.Keys{Prefix: env.Prefix}.WindowClears(spec.ID(), "g")
	scores, err := env.Client.ZRangeWithScores(t.Context(), key, 0, -1).Result()
	if err != nil || len(scores) != 1 || int64(scores[0].Score) != at.Add(time.Minute).UnixMilli() {
		t.Errorf("clears %v, %v; want the newest, %d", scores, err, at.Add(time.Minute).UnixMilli())
	}
	overfill(t, rediswindow.New(env.Client, env.Prefix, nil), spec, "g", at) // so that the log no longer has the clears
	if n := apply(t, rediswindow.New(env.Client, env.Prefix, nil), window.Op{Spec: spec, Group: "g", Time: at.Add(45 * time.Second), Member: "m", Tag: "ann"})[0].Size; n != 0 {
		t.Errorf("a failure before the newest success counts: %d", n)
	}
}

// TestStoppedWorkerForgetsNoClearWithoutFloor stops a worker at each script that it would run to
// forget clears: every late failure that one of the clears takes back is still not counted.
func TestStoppedWorkerForgetsNoClearWithoutFloor(t *testing.T) {
	t.Parallel()
	for scripts := range 6 {
		t.Run(fmt.Sprint("after ", scripts, " scripts"), func(t *testing.T) {
			t.Parallel()
			env := testenv.PrivateRedis(t)
			spec := &window.Spec{Name: "r", Threshold: 1, Length: time.Minute, Lateness: time.Minute, MaxClears: 3}
			at := time.UnixMilli(1_800_000_000_000)
			worker := rediswindow.New(env.Client, env.Prefix, nil)
			hook := &stopsAfter{command: "eval", pipelines: scripts}
			env.Client.AddHook(hook)
			var handled []window.Op
			for i := range 6 * spec.Capacity() {
				success := window.Op{Spec: spec, Group: "g", Kind: window.Clear, Time: at.Add(time.Duration(i) * time.Millisecond), Tag: fmt.Sprint(i)}
				if _, err := worker.Apply(t.Context(), []window.Op{success}); err != nil {
					break
				}
				handled = append(handled, success)
			}
			if len(handled) < 2*spec.Capacity() {
				t.Fatalf("only %d clears were handled", len(handled))
			}
			hook.off = true
			other := rediswindow.New(env.Client, env.Prefix, nil)
			for _, op := range handled {
				op.Kind, op.Member = window.Add, op.Tag
				if n := apply(t, other, op)[0].Size; n != 0 {
					t.Errorf("failure %s counts %d", op.Member, n)
				}
			}
		})
	}
}

// TestLateFailureStaysRemovedAfterItsClearIsForgotten: a late failure that a success takes back is
// checked when it arrives, while the success is known, and not only when the window reaches its
// threshold.
func TestLateFailureStaysRemovedAfterItsClearIsForgotten(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	s := rediswindow.New(env.Client, env.Prefix, nil)
	spec := &window.Spec{Name: "r", Threshold: 2, Length: time.Minute, Lateness: time.Minute, MaxClears: 3}
	at := time.UnixMilli(1_800_000_000_000)
	success := func(ms int, tag string) window.Op {
		return window.Op{Spec: spec, Group: "g", Kind: window.Clear, Time: at.Add(time.Duration(ms) * time.Millisecond), Tag: tag}
	}
	failure := func(ms int, tag string) window.Op {
		return window.Op{Spec: spec, Group: "g", Time: at.Add(time.Duration(ms) * time.Millisecond), Member: "failure of " + tag, Tag: tag}
	}
	apply(t, s, success(5, "ann"))
	for i := range 2*spec.Capacity() + 2 { // the log no longer has the success, the set does
		apply(t, s, success(i%5, "bob"))
	}
	apply(t, s, failure(4, "ann"))
	for i := range 6 * spec.Capacity() {
		apply(t, s, success(10+i, fmt.Sprint("user", i)))
	}
	if n := apply(t, s, failure(1000, "eve"))[0].Size; n != 1 {
		t.Errorf("the failure of eve counts %d, want 1: that of ann was taken back", n)
	}
}

// TestStoppedWorkerLeavesNoLateFailureThatCounts stops a worker after it has added a late failure
// and before it has looked up its success: the next worker does.
func TestStoppedWorkerLeavesNoLateFailureThatCounts(t *testing.T) {
	t.Parallel()
	env, at := testenv.PrivateRedis(t), time.UnixMilli(1_800_000_000_000)
	worker, other := rediswindow.New(env.Client, env.Prefix, nil), rediswindow.New(env.Client, env.Prefix, nil)
	spec := &window.Spec{Name: "r", Threshold: 2, Length: time.Minute, Lateness: time.Minute}
	success := window.Op{Spec: spec, Group: "g", Kind: window.Clear, Time: at.Add(time.Second), Tag: "ann"}
	for range 2*spec.Capacity() + 2 {
		apply(t, worker, success)
	}
	hook := &stopsAfter{command: "zmscore"}
	env.Client.AddHook(hook)
	late := window.Op{Spec: spec, Group: "g", Time: at, Member: "failure of ann", Tag: "ann"}
	if _, err := worker.Apply(t.Context(), []window.Op{late}); !errors.Is(err, errStopped) {
		t.Fatalf("error %v: the worker did not look up the success", err)
	}
	hook.off = true
	next := window.Op{Spec: spec, Group: "g", Time: at.Add(2 * time.Second), Member: "failure of bob", Tag: "bob"}
	if n := apply(t, other, next)[0].Size; n != 1 {
		t.Errorf("the failure of bob counts %d, want 1: that of ann was taken back", n)
	}
}

var errStopped = errors.New("the worker was stopped")

// stopsAfter is a hook that lets some pipelines with a command pass and fails all after them.
type stopsAfter struct {
	command   string
	pipelines int
	off       bool
}

func (h *stopsAfter) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *stopsAfter) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *stopsAfter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if h.off || !slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Name() == h.command }) {
			return next(ctx, cmds)
		}
		if h.pipelines--; h.pipelines < 0 {
			h.pipelines = 0
			for _, c := range cmds {
				c.SetErr(errStopped)
			}
			return errStopped
		}
		return next(ctx, cmds)
	}
}
