package windowtest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/window"
)

func tagged(s *window.Spec, seconds float64, member, tag string) window.Op {
	op := add(s, seconds, member)
	op.Tag = tag
	return op
}

// manyTags has as many tags cleared as people may share one address, before a
// member comes that one of the clears takes out.
func manyTags(t *testing.T, open func() window.Store) {
	for _, users := range []int{12, 13, 300, 5000} {
		w := &window.Spec{Name: fmt.Sprint("office", users), Threshold: 5, Length: 5 * time.Minute, Lateness: 5 * time.Minute}
		var clears, fails []window.Op
		for i := range users {
			tag := fmt.Sprint("user", i)
			clears = append(clears, clearOp(w, 60, tag))
			fails = append(fails, tagged(w, float64(i%50), "f"+tag, tag))
		}
		apply(t, open(), clears...)
		for i, count := range apply(t, open(), fails...) {
			if count != 0 {
				t.Fatalf("of %d users, the failure of user %d, who logged in later, counts %d", users, i, count)
			}
		}
		want(t, apply(t, open(), tagged(w, 61, "other", "mallory")), 1)
	}
}

// oneMillisecond has failures and successes alternate at one time, in order.
func oneMillisecond(t *testing.T, open func() window.Store) {
	w := &window.Spec{Name: "ms", Threshold: 5, Length: time.Minute, Lateness: time.Minute}
	var ops []window.Op
	for i := range 60 {
		tag := fmt.Sprint("user", i)
		ops = append(ops, tagged(w, 1, "f"+tag, tag), clearOp(w, 1, tag))
	}
	for i, count := range apply(t, open(), ops...) {
		if want := 1 - i%2; count != want {
			t.Fatalf("operation %d counts %d, want %d", i, count, want)
		}
	}
}

// disorder shuffles logins of an office, each failure followed by a success, and
// asks what stands when all are handled: nothing, however late the failures came.
func disorder(t *testing.T, open func() window.Store) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 9))
		w := &window.Spec{Name: fmt.Sprint("disorder", seed), Threshold: 5, Length: 5 * time.Minute, Lateness: 5 * time.Minute}
		var ops []window.Op
		for i := range 200 {
			tag := fmt.Sprint("user", i)
			ops = append(ops, tagged(w, float64(i), "f"+tag, tag), clearOp(w, float64(i)+5, tag))
		}
		r.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
		workers := []window.Store{open(), open(), open()}
		for len(ops) > 0 {
			n := min(1+r.IntN(30), len(ops))
			apply(t, workers[r.IntN(3)], ops[:n]...)
			ops = ops[n:]
		}
		// Two members that count must be found beside whatever the log still holds.
		want(t, apply(t, open(), tagged(w, 205, "m1", "mallory"), tagged(w, 206, "m2", "mallory")), 1, 2)
	}
}

// ownAccounts plays an attacker who logs in to accounts of his own, more than a window remembers,
// while he fails on those of others: each failure counts when it happens.
func ownAccounts(t *testing.T, open func() window.Store) {
	s := open()
	w := &window.Spec{Name: "own", Threshold: 5, Length: 5 * time.Minute, Lateness: 5 * time.Minute, MaxClears: 20}
	for i := range 5 {
		want(t, apply(t, s, tagged(w, float64(10*i), fmt.Sprint("f", i), fmt.Sprint("victim", i))), i+1)
		for j := range 50 {
			apply(t, s, clearOp(w, float64(10*i)+0.1, fmt.Sprint("own", i, "-", j)))
		}
	}
	want(t, apply(t, s, tagged(w, 60, "f6", "victim6")), 6)
}

// spared has more tags cleared than a window remembers: a member from before the oldest clear
// that is remembered is spared, one from after it counts.
func spared(t *testing.T, open func() window.Store) {
	s := open()
	w := &window.Spec{Name: "spared", Threshold: 2, Length: 5 * time.Minute, Lateness: 5 * time.Minute, MaxClears: 20}
	for i := range 60 {
		apply(t, s, clearOp(w, float64(i), fmt.Sprint("user", i)))
	}
	want(t, apply(t, s, tagged(w, 3, "late", "user3"), tagged(w, 50, "later", "user55")), 0, 0)
	want(t, apply(t, s, tagged(w, 59, "m", "mallory"), tagged(w, 59, "n", "mallory")), 1, 2)
	want(t, apply(t, s, tagged(w, 3, "late", "user3")), 0)
}

// evidence asks where the evidence of a count begins.
func evidence(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	low := add(w, 9, "e")
	low.Threshold = 2
	for _, step := range []struct {
		op   window.Op
		want time.Time
	}{
		{add(w, 0, "a"), time.Time{}},
		{add(w, 1, "b"), time.Time{}},
		{add(w, 2, "c"), at(0)},
		{add(w, 8, "d"), at(1)},
		{low, at(8)},
		{add(w, 0.5, "late"), at(0.5)}, // with b and c
		{add(w, 0, "a"), at(0)},        // again
		{window.Op{Spec: w, Group: "g", Kind: window.Read, Time: at(9)}, at(2)}, // c, d and e
		{window.Op{Spec: w, Group: "g", Kind: window.Read, Time: at(200)}, time.Time{}},
	} {
		counts, err := s.Apply(t.Context(), []window.Op{step.op})
		if err != nil {
			t.Fatal(err)
		}
		if !counts[0].Since.Equal(step.want) {
			t.Errorf("%s at %s: evidence since %s, want %s", step.op.Member, step.op.Time, counts[0].Since, step.want)
		}
	}
}

// neverCleared asks for a clear of a window whose spec rules that out.
func neverCleared(t *testing.T, open func() window.Store) {
	w := spec(3)
	w.MaxClears = window.NeverCleared
	if _, err := open().Apply(t.Context(), []window.Op{clearOp(w, 1, "ann")}); err == nil {
		t.Fatal("no error")
	}
}

// recounts asks again what operations count after a clear from before one of them has come.
func recounts(t *testing.T, open func() window.Store) {
	s, w := open(), spec(3)
	ops := []window.Op{tagged(w, 1, "a", "ann"), tagged(w, 2, "b", "bob"), tagged(w, 10, "c", "cid")}
	ops = append(ops, window.Op{Spec: w, Group: "g", Kind: window.Read, Time: at(11)})
	want(t, apply(t, s, ops...), 1, 2, 3, 3)
	apply(t, s, clearOp(w, 5, "ann"))
	counts, err := s.Recount(t.Context(), append(ops[2:], tagged(w, 9, "unknown", "eve")))
	if err != nil {
		t.Fatal(err)
	}
	want(t, window.Sizes(counts), 2, 2, 0)
	want(t, apply(t, s, tagged(w, 12, "d", "dan")), 3) // a recount changes nothing
}
