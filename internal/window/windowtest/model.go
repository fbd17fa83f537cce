package windowtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wardstream/wardstream/internal/window"
)

// Model compares two stores over one keyspace, two workers as it were, with counting as the
// definition says: of random histories in batches, with entries that come again, in disorder, late,
// together and beyond what a window holds, with clears, reads and several keys.
//
// A count below the threshold may be too high, as long as it stays below, where a clear is no
// longer in the log; what follows is about all others. While no window has held more than its
// capacity, every count is the definition's. From then on
//
//   - no count is higher than the definition's;
//   - where nothing was cleared, it is the definition's over the newest members, as many as the capacity;
//   - an entry no later than Lateness that the definition has reach the threshold does so, or one before it has on the
//     same window, with a time less than Length before its own and at most Lateness after it.
//
// An entry that is later than Lateness is promised the first two alone. What the capacity has
// dropped is new when it comes again at another time, and a member that comes with two times and a
// clear between them counts or doesn't by their order: neither is drawn here.
func Model(t *testing.T, open func(t *testing.T) func() window.Store) {
	t.Helper()
	next := open(t)
	workers := []window.Store{next(), next()}
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		h := newHistory(rt, runs)
		for range rapid.IntRange(1, 10).Draw(rt, "batches") {
			ops := h.draw()
			got, err := workers[rapid.IntRange(0, 1).Draw(rt, "worker")].Apply(context.Background(), ops)
			if err != nil || len(got) != len(ops) {
				rt.Fatalf("%d counts for %d operations: %v", len(got), len(ops), err)
			}
			for i := range ops {
				h.check(&ops[i], got[i].Size)
			}
		}
	})
}

// A history is one run: its specs and what the definition knows of their windows.
type history struct {
	rt     *rapid.T
	groups []string
	tags   []string
	specs  []*window.Spec
	books  map[string]*book
	clock  int64 // ms
	made   int   // members
	past   []window.Op

	clears  bool // there are clears
	resends bool // members come again at other times
	largest int  // batch
	tight   bool // members come so that a late one needs all that a window holds
}

func newHistory(rt *rapid.T, run int) *history {
	h := &history{rt: rt, books: map[string]*book{}, clock: epoch.UnixMilli(), largest: 6}
	for i := range rapid.IntRange(1, 2).Draw(rt, "specs") {
		h.specs = append(h.specs, &window.Spec{
			Name: fmt.Sprintf("run%d-%d", run, i), Threshold: rapid.SampledFrom([]int{1, 2, 3, 4, 5, 6, 11}).Draw(rt, "threshold"), Length: time.Second,
			Lateness: time.Duration(rapid.SampledFrom([]int{0, 3, 10, 20, 25}).Draw(rt, "lateness")) * 100 * time.Millisecond, Latest: rapid.Bool().Draw(rt, "latest"), ClearsAll: true,
		})
	}
	h.groups = []string{"g", "g:1", strings.Repeat("long", 70)}[:rapid.IntRange(1, 3).Draw(rt, "groups")]
	h.tags = []string{"", "ann", "bob"}
	if rapid.Bool().Draw(rt, "many tags") { // of an office, say, where nothing clears what is of everybody
		h.tags = nil
		for i := range 60 {
			h.tags = append(h.tags, fmt.Sprint("user", i))
		}
	}
	if rapid.Bool().Draw(rt, "clears") {
		h.clears = true
	} else {
		h.resends = rapid.Bool().Draw(rt, "resends")
	}
	if rapid.Bool().Draw(rt, "floods") {
		h.largest = 60
	}
	if h.tight = rapid.IntRange(0, 3).Draw(rt, "tight") == 0; h.tight {
		h.specs, h.groups = h.specs[:1], h.groups[:1]
	}
	return h
}

// draw draws a batch.
func (h *history) draw() []window.Op {
	ops := make([]window.Op, rapid.IntRange(1, h.largest).Draw(h.rt, "operations"))
	for i := range ops {
		ops[i] = h.op()
		h.past = append(h.past, ops[i])
	}
	return ops
}

// op draws an operation. Times are tenths of a window apart, so that many are equal, or a window's
// length apart.
func (h *history) op() window.Op {
	kinds := []string{"add", "add", "add", "add", "again", "read"}
	if h.clears {
		kinds = append(kinds, "clear")
	}
	if h.resends {
		kinds = append(kinds, "resend")
	}
	kind := rapid.SampledFrom(kinds).Draw(h.rt, "kind")
	if kind == "add" {
		h.clock += h.step()
	}
	op := window.Op{
		Spec: rapid.SampledFrom(h.specs).Draw(h.rt, "spec"), Group: rapid.SampledFrom(h.groups).Draw(h.rt, "group"),
		Tag: rapid.SampledFrom(h.tags).Draw(h.rt, "tag"),
	}
	late := int(op.Spec.Lateness.Milliseconds() / 100)
	switch rapid.IntRange(0, 7).Draw(h.rt, "punctual") {
	case 0:
		late = rapid.IntRange(0, 2*late).Draw(h.rt, "late")
	case 1: // just not too late
	default:
		late = 0
	}
	op.Time = time.UnixMilli(h.clock - 100*int64(late))
	switch kind {
	case "read":
		op.Kind = window.Read
		return op
	case "clear":
		op.Kind = window.Clear
		return op
	case "again", "resend":
		if len(h.past) == 0 {
			break
		}
		old := rapid.SampledFrom(h.past).Draw(h.rt, "which")
		b := h.book(&old)
		remembered := !b.over && len(b.members) < old.Spec.Capacity()-h.largest || old.Spec.Latest
		switch {
		case old.Kind != window.Add || h.resends && !remembered:
		case kind == "again":
			return old
		default:
			op.Spec, op.Group, op.Tag, op.Member = old.Spec, old.Group, old.Tag, old.Member
			return op
		}
	}
	h.made++
	op.Member = fmt.Sprint("m", h.made)
	return op
}

// step is the time from one member to the next: in bursts, or as many at a time as just don't reach
// the threshold.
func (h *history) step() int64 {
	switch k := h.specs[0].Threshold; {
	case !h.tight:
		return 100 * int64(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 9}).Draw(h.rt, "step"))
	case h.made%max(k-1, 1) == 0:
		return length
	}
	return 0
}

// A book is what the definition knows of one window.
type book struct {
	spec    *window.Spec
	members map[string]int64  // when they stand, in ms
	tags    map[string]string // of members
	clears  map[string]int64  // the newest of each tag
	fired   []int64           // times of members that were said to reach the threshold
	newest  int64             // time that came
	over    bool              // there were more members than the window holds
}

func (h *history) book(op *window.Op) *book {
	key := op.Spec.Name + "/" + op.Group
	if h.books[key] == nil {
		h.books[key] = &book{spec: op.Spec, members: map[string]int64{}, tags: map[string]string{}, clears: map[string]int64{}}
	}
	return h.books[key]
}

// check compares the count of op with the definition's.
func (h *history) check(op *window.Op, got int) {
	b, at := h.book(op), op.Time.UnixMilli()
	b.newest = max(b.newest, at)
	switch op.Kind {
	case window.Clear:
		b.clear(op.Tag, at)
		if got != 0 {
			h.rt.Fatalf("a clear counts %d", got)
		}
	case window.Read:
		h.compare(b, op, got, func(times []int64) int { return within(times, at) })
	case window.Add:
		if b.cleared(op.Tag, at) {
			if got >= b.spec.Threshold {
				h.rt.Fatalf("%+v was cleared and counts %d", *op, got)
			}
			return
		}
		stands := b.add(op, at)
		if b.over && got == around(b.held(), at) {
			stands = at // it stood at a later time, which has been dropped
		}
		h.compare(b, op, got, func(times []int64) int { return around(times, stands) })
		h.reaches(b, op, got, around(b.times(), stands))
	}
}

// compare holds got to what is promised of every count. Want counts over times of members.
func (h *history) compare(b *book, op *window.Op, got int, want func([]int64) int) {
	times := b.times()
	all, newest := want(times), want(b.held())
	if h.clears && all < got && got < b.spec.Threshold {
		return
	}
	switch {
	case !b.over && got != all:
		h.rt.Fatalf("%+v counts %d, want %d of %v", *op, got, all, times)
	case got > all:
		h.rt.Fatalf("%+v counts %d, more than the %d there ever were in %v", *op, got, all, times)
	case !h.clears && got != newest:
		h.rt.Fatalf("%+v counts %d, want %d of the newest %d of %v", *op, got, newest, b.spec.Capacity(), times)
	}
}

// reaches holds an entry that isn't too late to reaching the threshold where the definition has it
// do so.
func (h *history) reaches(b *book, op *window.Op, got, want int) {
	at := op.Time.UnixMilli()
	if got >= b.spec.Threshold {
		b.fired = append(b.fired, at)
		return
	}
	if want < b.spec.Threshold || at < b.newest-b.spec.Lateness.Milliseconds() {
		return
	}
	before := func(t int64) bool { return t > at-length && t <= at+b.spec.Lateness.Milliseconds() }
	if !slices.ContainsFunc(b.fired, before) {
		h.rt.Fatalf("%+v counts %d, want %d and more: %d, and none before it reached it: %v", *op, got, b.spec.Threshold, want, b.fired)
	}
}

const length = 1000 // ms, of every window

// add notes a member and returns when it stands.
func (b *book) add(op *window.Op, at int64) int64 {
	if held, ok := b.members[op.Member]; ok && (held >= at) == b.spec.Latest {
		return held
	}
	b.members[op.Member], b.tags[op.Member] = at, op.Tag
	b.over = b.over || len(b.members) > b.spec.Capacity()
	return at
}

func (b *book) clear(tag string, at int64) {
	b.clears[tag] = max(b.clears[tag], at)
	for m, stands := range b.members {
		if b.cleared(b.tags[m], stands) {
			delete(b.members, m)
		}
	}
}

func (b *book) cleared(tag string, at int64) bool { return at <= b.clears[""] || at <= b.clears[tag] }

// times are when members stand, in order.
func (b *book) times() []int64 {
	var out []int64
	for _, at := range b.members {
		out = append(out, at)
	}
	slices.Sort(out)
	return out
}

// held are the newest of them, as many as the window holds.
func (b *book) held() []int64 {
	times := b.times()
	return times[max(0, len(times)-b.spec.Capacity()):]
}

// within is how many of times are less than a length before end, end included.
func within(times []int64, end int64) (n int) {
	for _, t := range times {
		if t > end-length && t <= end {
			n++
		}
	}
	return n
}

// around is the most of times that any window that holds at has.
func around(times []int64, at int64) (most int) {
	for end := at; end < at+length; end += 100 {
		most = max(most, within(times, end))
	}
	return most
}
