package rediswindow_test

import (
	"fmt"
	"testing"
	"time"

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

// TestCompactedWindowExpires: a compaction goes along with a batch that may touch other windows alone, so that nothing else
// gives the window its TTL.
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

// TestSecondCompactionChangesNothing: where two workers would compact the same log the second sees that it is not the first,
// though the log is as long again by then.
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
	env.Client.Del(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Window(spec.ID(), "g")) // as a compaction does to clears in the log
	if n := apply(t, rediswindow.New(env.Client, env.Prefix, nil), window.Op{Spec: spec, Group: "g", Time: at.Add(45 * time.Second), Member: "m", Tag: "ann"})[0].Size; n != 0 {
		t.Errorf("a failure before the newest success counts: %d", n)
	}
}
