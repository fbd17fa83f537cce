// Package windowtest holds what every window.Store must do.
package windowtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/window"
)

// epoch is where the tests' clocks start: any time will do, for windows count
// by the times they are given.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// Run runs the suite. open returns a store over the same empty keyspace each
// time it is called.
func Run(t *testing.T, open func(t *testing.T) func() window.Store) {
	t.Helper()
	cases := map[string]func(*testing.T, func() window.Store){
		"counts members within the length":    countsWithin,
		"slides":                              slides,
		"repeats change nothing":              repeats,
		"late entries complete a window":      late,
		"distinct values count once":          distinct,
		"reads count nothing":                 reads,
		"clears up to their own time":         clears,
		"clears only their tag":               clearsTag,
		"clears what is yet to arrive":        clearsLate,
		"clears of many tags":                 manyTags,
		"clears in one millisecond":           oneMillisecond,
		"clears in disorder":                  disorder,
		"clears of an attacker's accounts":    ownAccounts,
		"clears beyond the limit":             spared,
		"clears refused":                      neverCleared,
		"evidence":                            evidence,
		"recounts":                            recounts,
		"a batch equals one by one":           batchEqualsSingles,
		"saturates and stays bounded":         saturates,
		"groups and specs are apart":          apart,
		"odd members":                         odd,
		"any order and repetition, one state": converges,
		"empty batch":                         empty,
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func spec(threshold int) *window.Spec {
	return &window.Spec{Name: "test", Threshold: threshold, Length: time.Minute, Lateness: time.Minute, ClearsAll: true}
}

func add(s *window.Spec, seconds float64, member string) window.Op {
	return window.Op{Spec: s, Group: "g", Time: at(seconds), Member: member}
}

// apply runs ops as one batch and returns the counts.
func apply(t *testing.T, s window.Store, ops ...window.Op) []int {
	t.Helper()
	counts, err := s.Apply(t.Context(), ops)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	if len(counts) != len(ops) {
		t.Fatalf("%d counts for %d operations", len(counts), len(ops))
	}
	return window.Sizes(counts)
}

func want(t *testing.T, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("counts %v, want %v", got, want)
	}
}

func countsWithin(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	want(t, apply(t, s, add(w, 0, "a"), add(w, 59, "b")), 1, 2)
	want(t, apply(t, s, add(w, 59.999, "c")), 3)
}

func slides(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	want(t, apply(t, s, add(w, 0, "a"), add(w, 60, "b"), add(w, 100, "c"), add(w, 119.999, "d"), add(w, 120, "e")), 1, 1, 2, 3, 3)
}

func repeats(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	want(t, apply(t, s, add(w, 0, "a"), add(w, 0, "a"), add(w, 1, "b")), 1, 1, 2)
	want(t, apply(t, open(), add(w, 0, "a"), add(w, 1, "b"), add(w, 5, "a")), 2, 2, 2)
}

func late(t *testing.T, open func() window.Store) {
	s, w := open(), spec(5)
	want(t, apply(t, s, add(w, 0, "a"), add(w, 10, "b"), add(w, 30, "d"), add(w, 40, "e")), 1, 2, 3, 4)
	want(t, apply(t, s, add(w, 200, "later"), add(w, 20, "c")), 1, 5)
}

func distinct(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	w.Latest = true
	want(t, apply(t, s, add(w, 0, "/a"), add(w, 10, "/a"), add(w, 20, "/b"), add(w, 65, "/c")), 1, 1, 2, 3)
	want(t, apply(t, s, add(w, 75, "/d")), 3)
}

func reads(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	read := func(seconds float64) window.Op {
		return window.Op{Spec: w, Group: "g", Kind: window.Read, Time: at(seconds)}
	}
	want(t, apply(t, s, read(0), add(w, 1, "a"), read(1), add(w, 2, "b"), read(0.5)), 0, 1, 1, 2, 0)
	want(t, apply(t, s, read(60.999), read(61), read(62)), 2, 1, 0)
}

func clearOp(w *window.Spec, seconds float64, tag string) window.Op {
	return window.Op{Spec: w, Group: "g", Kind: window.Clear, Time: at(seconds), Tag: tag}
}

func clears(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	want(t, apply(t, s, add(w, 0, "a"), add(w, 3, "c"), clearOp(w, 2, ""), add(w, 4, "d")), 1, 2, 0, 2)
	want(t, apply(t, s, add(w, 0, "a"), add(w, 5, "e")), 0, 3)
}

func clearsTag(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	want(t, apply(t, s, tagged(w, 0, "a", "ann"), tagged(w, 1, "b", "bob"), clearOp(w, 2, "ann")), 1, 2, 0)
	want(t, apply(t, s, tagged(w, 3, "c", "ann")), 2)
}

func clearsLate(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	want(t, apply(t, s, clearOp(w, 10, "")), 0)
	want(t, apply(t, s, add(w, 5, "a"), add(w, 10, "b"), add(w, 10.001, "c")), 0, 0, 1)
}

// batchEqualsSingles has windows overflow where nothing is cleared. Where something is, they
// don't: which members a window drops then depends on which clears are known by the time.
func batchEqualsSingles(t *testing.T, open func() window.Store) {
	r := rand.New(rand.NewPCG(1, 2))
	small := []*window.Spec{spec(4), spec(9)}
	batchEquals(t, open, slices.DeleteFunc(random(r, 400, small...), func(op window.Op) bool { return op.Kind == window.Clear }))
	batchEquals(t, open, random(r, 400, spec(50), spec(60)))
}

func batchEquals(t *testing.T, open func() window.Store, ops []window.Op) {
	t.Helper()
	singles, batched := open(), open()
	var one []int
	for i := range ops {
		op := ops[i]
		op.Group += "/singles"
		one = append(one, apply(t, singles, op)...)
	}
	var many []int
	for chunk := range slices.Chunk(ops, 37) {
		many = append(many, apply(t, batched, chunk...)...)
	}
	want(t, many, one...)
}

// random returns n operations in time order on a few windows, with clears and
// reads among them. A member has one time and one tag, as an entry has.
func random(r *rand.Rand, n int, specs ...*window.Spec) []window.Op {
	ops := make([]window.Op, n)
	for i := range ops {
		tag := []string{"", "ann", "bob"}[r.IntN(3)]
		ops[i] = window.Op{
			Spec: specs[r.IntN(len(specs))], Group: fmt.Sprint("g", r.IntN(3)),
			Time: at(float64(i) / 2), Member: fmt.Sprint(i), Tag: tag,
		}
		switch r.IntN(10) {
		case 0:
			ops[i].Kind = window.Read
		case 1:
			ops[i].Kind = window.Clear
		}
	}
	return ops
}

func saturates(t *testing.T, open func() window.Store) {
	s, w := open(), spec(2)
	var counts []int
	for i := range 50 {
		ops := make([]window.Op, 30)
		for j := range ops {
			ops[j] = add(w, float64(i)/100, fmt.Sprint(i, "/", j))
		}
		counts = apply(t, s, ops...)
	}
	if got := counts[len(counts)-1]; got != w.Capacity() {
		t.Fatalf("count %d, want the capacity %d", got, w.Capacity())
	}
}

func apart(t *testing.T, open func() window.Store) {
	s, w, other := open(), spec(3), spec(4)
	op := add(w, 0, "a")
	op.Group = "h"
	want(t, apply(t, s, add(w, 0, "a"), op, add(other, 0, "a"), add(w, 1, "b")), 1, 1, 1, 2)
}

func odd(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	op := func(group, member string) window.Op {
		return window.Op{Spec: w, Group: group, Time: at(0), Member: member}
	}
	long := string(make([]byte, 10_000))
	want(t, apply(t, s, op("", ""), op("a:b", "x"), op("a_b", "x"), op(long, long), op("{}\n\x00", "\xff"), op(long+"x", long)), 1, 1, 1, 1, 1, 1)
}

// converges delivers the same operations to two keyspaces, in order and in
// disorder with repetitions, and compares what the windows hold.
func converges(t *testing.T, open func() window.Store) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := &window.Spec{Name: fmt.Sprint("seed", seed), Threshold: 3, Length: time.Minute, Lateness: time.Hour, ClearsAll: true}
		ops := random(r, 60, w)
		apply(t, open(), rename(ops, "ordered")...)
		shuffled := append(slices.Clone(ops), ops[:20]...)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for chunk := range slices.Chunk(shuffled, 7) {
			apply(t, open(), rename(chunk, "shuffled")...)
		}
		var probes []window.Op
		for second := range 90 {
			probes = append(probes, window.Op{Spec: w, Group: "g0", Kind: window.Read, Time: at(float64(second))})
		}
		want(t, apply(t, open(), rename(probes, "shuffled")...), apply(t, open(), rename(probes, "ordered")...)...)
	}
}

func rename(ops []window.Op, suffix string) []window.Op {
	out := slices.Clone(ops)
	for i := range out {
		out[i].Group += suffix
	}
	return out
}

func empty(t *testing.T, open func() window.Store) {
	want(t, apply(t, open()))
}
