package window

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestCapacityHoldsEveryRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		threshold        int
		length, lateness time.Duration
		want             int
	}{
		{5, 5 * time.Minute, 5 * time.Minute, 13},
		{20, 5 * time.Minute, 5 * time.Minute, 39},
		{20, time.Minute, 90 * time.Second, 58},
		{0, time.Minute, 0, 9},
		{100, time.Minute, 0, 108},
	} {
		s := Spec{Threshold: c.threshold, Length: c.length, Lateness: c.lateness}
		if got := s.Capacity(); got != c.want {
			t.Errorf("capacity of %+v is %d, want %d", s, got, c.want)
		}
	}
}

// TestTTL: a window outlives its length, what comes late and an outage.
func TestTTL(t *testing.T) {
	t.Parallel()
	s := Spec{Threshold: 5, Length: 3 * time.Minute, Lateness: 7 * time.Minute}
	if got, want := s.TTL(), 20*time.Minute; got != want {
		t.Errorf("TTL %s, want %s", got, want)
	}
}

func TestIDDistinguishesSpecs(t *testing.T) {
	t.Parallel()
	base := Spec{Name: "r", Threshold: 5, Length: time.Minute, Lateness: time.Minute}
	seen := map[string]bool{base.ID(): true}
	for _, change := range []func(*Spec){
		func(s *Spec) { s.Name = "q" }, func(s *Spec) { s.Threshold++ }, func(s *Spec) { s.Length++ },
		func(s *Spec) { s.Lateness++ }, func(s *Spec) { s.Latest = true }, func(s *Spec) { s.Variant = "x" },
	} {
		s := base
		change(&s)
		if seen[s.ID()] {
			t.Errorf("%+v has the id of another spec", s)
		}
		seen[s.ID()] = true
	}
}

// naive counts as the definition says, over everything that ever came.
func naive(members map[uint64]int64, length, at int64) int {
	most := 0
	for _, end := range members {
		if end < at || end >= at+length {
			continue
		}
		n := 0
		for _, m := range members {
			if m <= end && m > end-length {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// TestViewMissesNoRun feeds members in disorder up to Lateness and asks, after
// each, whether the threshold is reached: the view must say what the
// definition says over all members, though it keeps only its capacity.
func TestViewMissesNoRun(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		spec := &Spec{Threshold: 2 + r.IntN(6), Length: time.Second, Lateness: time.Duration(r.IntN(3000)) * time.Millisecond}
		view, all := Replay(spec, "", Clears{}), map[uint64]int64{}
		clock := int64(1_000_000)
		for range 200 {
			clock += r.Int64N(400)
			at := clock - r.Int64N(spec.Lateness.Milliseconds()+1)
			member := r.Uint64N(1 << 40)
			all[member+1] = at
			got, _ := view.add(Record{At: at, Member: member + 1})
			if has, want := view.around(got, spec.Threshold).Size >= spec.Threshold, naive(all, 1000, at) >= spec.Threshold; has != want {
				t.Fatalf("seed %d: threshold reached: %t, want %t (of %d)", seed, has, want, len(all))
			}
		}
	}
}

func TestCompactKeepsTheView(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	spec := &Spec{Threshold: 3, Length: time.Second, Lateness: time.Second}
	var log []byte
	for range 500 {
		rec := Record{At: 1 + r.Int64N(5000), Tag: r.Uint64N(3), Member: r.Uint64N(50) + 1}
		if r.IntN(20) == 0 {
			rec.Member = clearMember
		}
		log = rec.Append(log)
		view := Replay(spec, string(log), Clears{})
		again := Replay(spec, string(view.Compact(nil)), Clears{})
		if !slices.Equal(view.members, again.members) {
			t.Fatal("compacting changed the view")
		}
	}
}

// TestRecountIgnoresLaterClears: of clears in the log and beside it, those up to the operation's
// own time count.
func TestRecountIgnoresLaterClears(t *testing.T) {
	t.Parallel()
	spec := &Spec{Threshold: 3, Length: time.Minute, Lateness: time.Minute}
	var log []byte
	ops := make([]Op, 4)
	for i := range ops {
		ops[i] = Op{Spec: spec, Group: "g", Time: time.UnixMilli(int64(1000 * (i + 1))), Member: string(rune('a' + i)), Tag: string(rune('A' + i))}
		r := ops[i].record()
		log = r.Append(log)
	}
	for _, c := range []struct {
		clear string // tag
		at    int64
		want  int
	}{{"A", 2500, 3}, {"A", 4000, 3}, {"A", 4001, 4}, {"A", 500, 4}, {"D", 5000, 4}, {"", 2000, 2}, {"", 9000, 4}} {
		op := Op{Spec: spec, Kind: Clear, Time: time.UnixMilli(c.at), Tag: c.clear}
		r := op.record()
		known := Clears{}
		known.Set(r.Tag, r.At)
		for where, got := range map[string]Count{
			"log":    Recount(&ops[3], string(r.Append(log)), &Clears{}),
			"beside": Recount(&ops[3], string(log), &known),
		} {
			if got.Size != c.want {
				t.Errorf("a clear of %q at %d %s: count %d, want %d", c.clear, c.at, where, got.Size, c.want)
			}
		}
	}
}

func TestReplayIgnoresTornRecord(t *testing.T) {
	t.Parallel()
	spec := &Spec{Threshold: 3, Length: time.Second}
	log := Record{At: 1, Member: 2}.Append(nil)
	if v := Replay(spec, string(log)+"torn", Clears{}); len(v.members) != 1 {
		t.Fatalf("%d members, want 1", len(v.members))
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte{}, uint8(3))
	f.Add(Record{At: 5, Tag: 1, Member: 2}.Append(Record{At: 7, Member: clearMember}.Append(nil)), uint8(1))
	f.Fuzz(func(t *testing.T, log []byte, threshold uint8) {
		spec := &Spec{Threshold: int(threshold), Length: time.Second, Lateness: time.Second}
		view := Replay(spec, string(log), Clears{})
		if len(view.members) > spec.Capacity() {
			t.Fatal("the view outgrew its capacity")
		}
		if !slices.IsSortedFunc(view.members, byTime) {
			t.Fatal("members out of order")
		}
		if again := Replay(spec, string(view.Compact(nil)), Clears{}); !slices.Equal(again.members, view.members) {
			t.Fatal("compacting changed the view")
		}
	})
}

func BenchmarkReplayAndAdd(b *testing.B) {
	spec := &Spec{Threshold: 20, Length: 5 * time.Minute, Lateness: 5 * time.Minute, Latest: true}
	var log []byte
	for i := range 40 {
		log = Record{At: int64(i) * 1000, Member: uint64(i) + 1}.Append(log)
	}
	op := Op{Spec: spec, Time: time.UnixMilli(41_000), Member: "/orders/17"}
	b.ReportAllocs()
	for b.Loop() {
		Replay(spec, string(log), Clears{}).Apply(&op)
	}
}
