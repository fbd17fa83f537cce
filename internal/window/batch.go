package window

import (
	"fmt"
	"slices"
)

// A Batch groups a list of operations by window, so that a store accesses each window once. Within
// a window the order of the list is kept.
type Batch struct {
	Windows []Window
	ops     []Op
	records []Record // what each operation adds; see Op.record
	next    []int32  // the operation after this one on the same window, or -1
}

// A Window is one window of a batch.
type Window struct {
	Spec  *Spec
	Group string
	first int32
	last  int32
}

// Group groups ops by window.
func Group(ops []Op) *Batch {
	type id struct {
		spec  *Spec
		group string
	}
	b := &Batch{ops: ops, records: make([]Record, len(ops)), next: make([]int32, len(ops)), Windows: make([]Window, 0, len(ops))}
	seen := make(map[id]int, len(ops))
	for i := range ops {
		b.records[i] = ops[i].record()
		b.next[i] = -1
		key := id{ops[i].Spec, ops[i].Group}
		at := int32(i)
		w, ok := seen[key]
		if !ok {
			seen[key] = len(b.Windows)
			b.Windows = append(b.Windows, Window{Spec: key.spec, Group: key.group, first: at, last: at})
			continue
		}
		b.next[b.Windows[w].last] = at
		b.Windows[w].last = at
	}
	return b
}

// Check returns ErrNeverCleared if an operation is a clear that its Spec does not allow.
func (b *Batch) Check() error {
	for i := range b.ops {
		if op := &b.ops[i]; op.Kind == Clear && (!op.Spec.KeepsClears() || op.Tag == "" && !op.Spec.ClearsAll) {
			return fmt.Errorf("%w: %s", ErrNeverCleared, b.ops[i].Spec.Name)
		}
	}
	return nil
}

// Additions returns the encoded records that the batch adds to the log of w; none if it only reads.
// Without clears it returns at most the window's capacity; with clears only the store knows which
// members count.
func (b *Batch) Additions(w Window) []byte {
	capacity := w.Spec.Capacity()
	var out []byte
	for i := w.first; i >= 0; i = b.next[i] {
		if b.ops[i].Kind == Read {
			continue
		}
		if len(out) == capacity*RecordSize && !w.Spec.KeepsClears() {
			return b.compacted(w)
		}
		out = b.records[i].Append(out)
	}
	return out
}

func (b *Batch) compacted(w Window) []byte {
	view := Replay(w.Spec, "", Clears{})
	for i := w.first; i >= 0; i = b.next[i] {
		view.apply(&b.ops[i], b.records[i])
	}
	return view.Compact(nil)
}

// Clears returns the batch's clears of w, and whether it has other operations on w.
func (b *Batch) Clears(w Window) (clears []Record, mixed bool) {
	for i := w.first; i >= 0; i = b.next[i] {
		if b.ops[i].Kind == Clear {
			clears = append(clears, b.records[i])
		} else {
			mixed = true
		}
	}
	return clears, mixed
}

// Tags returns, without duplicates, the tags of the batch's additions to w and of its clears, and 0
// if clears of every member are possible.
func (b *Batch) Tags(w Window) []uint64 {
	var tags []uint64
	if w.Spec.ClearsAll {
		tags = append(tags, 0)
	}
	for i := w.first; i >= 0; i = b.next[i] {
		tag := b.records[i].Tag
		if b.ops[i].Kind != Read && w.Spec.clearable(tag) && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// Judge applies the batch's operations on w to the view and writes their counts to counts, which
// must be as long as the batch's list. It reports whether any of them reached its threshold.
func (b *Batch) Judge(w Window, view *View, counts []Count) (reached bool) {
	for i := w.first; i >= 0; i = b.next[i] {
		counts[i] = view.apply(&b.ops[i], b.records[i])
		reached = reached || !counts[i].Since.IsZero()
	}
	return reached
}
