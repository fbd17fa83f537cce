package window

import (
	"cmp"
	"slices"
	"time"
)

// A View is the state of a window computed from its log and its clears: the newest distinct members
// that were not cleared. It is not safe for concurrent use.
type View struct {
	spec     *Spec
	capacity int
	length   int64    // milliseconds
	members  []Record // by time
	clears   Clears   // known besides those of the log
	logged   []Record // the clears of the log
	left     []Record // members that clears removed before or on arrival

	until      int64 // later clears are ignored; 0: none are
	newest     int64 // time of the newest clear that was ever in the log, in milliseconds
	overflowed bool
	late       bool
	spared     int
}

// Replay returns the view of an encoded log and of clears, which the view takes over. An incomplete
// record at the end is ignored.
func Replay(spec *Spec, log string, known Clears) *View {
	v := &View{spec: spec, capacity: spec.Capacity(), length: spec.Length.Milliseconds(), clears: known}
	marker := LogMarker(log)
	v.newest, v.clears.Floor = marker.Newest, max(known.Floor, marker.Floor)
	v.members = make([]Record, 0, min(len(log)/RecordSize+4, v.capacity+4))
	v.Extend(log)
	return v
}

// Recount returns the count of op, which was applied before, in the window of an encoded log and of
// clears. It ignores clears later than op.
func Recount(op *Op, log string, known *Clears) Count {
	r := op.record()
	v := &View{spec: op.Spec, capacity: op.Spec.Capacity(), length: op.Spec.Length.Milliseconds(), clears: known.UpTo(r.At), until: r.At}
	v.Extend(log)
	threshold := cmp.Or(op.Threshold, op.Spec.Threshold)
	if op.Kind == Read {
		return v.trailing(r.At, threshold)
	}
	if i := v.index(r.Member); i >= 0 {
		return v.around(v.members[i].At, threshold)
	}
	return Count{}
}

// Extend adds the records of an encoded log to the view.
func (v *View) Extend(log string) {
	for ; len(log) >= RecordSize; log = log[RecordSize:] {
		switch r := decode(log[:RecordSize]); {
		case r.isMarker():
		case r.Member == clearMember && v.until != 0 && r.At > v.until:
		case r.Member == clearMember:
			v.clear(r)
		default:
			v.add(r)
		}
	}
}

// Apply executes op and returns its count.
func (v *View) Apply(op *Op) Count { return v.apply(op, op.record()) }

func (v *View) apply(op *Op, r Record) Count {
	threshold := cmp.Or(op.Threshold, v.spec.Threshold)
	switch op.Kind {
	case Read:
		return v.trailing(r.At, threshold)
	case Clear:
		v.clear(r)
		return Count{}
	case Add:
	}
	v.late = v.late || r.At <= v.newest && v.spec.clearable(r.Tag)
	if v.spares(r) {
		v.spared++
		return Count{}
	}
	at, live := v.add(r)
	if !live {
		return Count{}
	}
	return v.around(at, threshold)
}

// Compact appends the shortest log with the same members to b.
func (v *View) Compact(b []byte) []byte {
	b = slices.Grow(b, len(v.members)*RecordSize)
	for _, r := range v.members {
		b = r.Append(b)
	}
	return b
}

// Marker returns the marker of a log that is compacted to the view.
func (v *View) Marker() Marker { return Marker{Newest: v.newest, Floor: v.clears.Floor} }

// Overflowed reports whether members were dropped because of the capacity. If the clear of a kept
// member is not known, a member that counts may have been dropped instead of it.
func (v *View) Overflowed() bool { return v.overflowed }

// Corrected reports whether the view left out members that the log alone would count. The log
// should then be compacted to the view.
func (v *View) Corrected() bool {
	if v.spared > 0 {
		return true
	}
	for i := range v.left {
		if !v.logCovers(&v.left[i]) {
			return true
		}
	}
	return false
}

// covers reports whether a clear removes r.
func (v *View) covers(r Record) bool { return v.clears.covers(r) || v.logCovers(&r) }

func (v *View) logCovers(r *Record) bool {
	for i := range v.logged {
		if v.logged[i].takesOut(r) {
			return true
		}
	}
	return false
}

// Late reports whether an operation added a member that a clear handled before it may remove,
// although the log no longer has that clear: the member is not newer than every clear.
func (v *View) Late() bool { return v.late }

// Spared returns how many operations added nothing because their clear may have been forgotten; see
// Clears.
func (v *View) Spared() int { return v.spared }

// spares reports whether a forgotten clear may have removed r, which arrives now.
func (v *View) spares(r Record) bool {
	return v.spec.clearable(r.Tag) && r.At <= v.clears.Floor && !v.covers(r) && v.index(r.Member) < 0
}

// add adds a member and returns its time in the window and whether it counts. A member that a
// producer sends twice keeps its first time. Only if there is a clear between the two times does
// the order of arrival decide whether it counts.
func (v *View) add(r Record) (at int64, live bool) {
	if v.covers(r) {
		v.left = append(v.left, r)
		return r.At, false
	}
	if i := v.index(r.Member); i >= 0 {
		held := v.members[i]
		if v.spec.Latest == (r.At <= held.At) || r.At == held.At {
			return held.At, true
		}
		v.members = slices.Delete(v.members, i, i+1)
	}
	if n := len(v.members); n == 0 || byTime(v.members[n-1], r) < 0 { // as nearly always
		v.members = append(v.members, r)
	} else {
		i, _ := slices.BinarySearchFunc(v.members, r, byTime)
		v.members = slices.Insert(v.members, i, r)
	}
	if len(v.members) > v.capacity {
		v.members = slices.Delete(v.members, 0, 1)
		v.overflowed = true
	}
	return r.At, true
}

// index finds a member. It searches from the end, where repeated members most often are.
func (v *View) index(member uint64) int {
	for i := len(v.members) - 1; i >= 0; i-- {
		if v.members[i].Member == member {
			return i
		}
	}
	return -1
}

// byTime orders records by time and then by member, so that every worker drops the same members at
// capacity.
func byTime(a, b Record) int {
	if a.At != b.At {
		return cmp.Compare(a.At, b.At)
	}
	return cmp.Compare(a.Member, b.Member)
}

func (v *View) clear(r Record) {
	v.logged = append(v.logged, r)
	v.newest = max(v.newest, r.At)
	v.members = slices.DeleteFunc(v.members, func(m Record) bool { return r.takesOut(&m) })
}

// takesOut reports whether r, a clear, removes the member m.
func (r *Record) takesOut(m *Record) bool {
	return (r.Tag == 0 || r.Tag == m.Tag) && m.At <= r.At
}

// around returns the largest number of members in any span of the window's length that contains at.
func (v *View) around(at int64, threshold int) Count {
	size, since, left := 0, int64(0), 0
	for right, m := range v.members {
		if m.At < at {
			continue
		}
		if m.At >= at+v.length && m.At != at {
			break
		}
		for v.members[left].At <= m.At-v.length && v.members[left].At < at {
			left++
		}
		n := right - left + 1
		size = max(size, n)
		if n >= threshold { // the newest that suffice, at among them
			since = max(since, min(at, v.members[right-max(threshold, 1)+1].At))
		}
	}
	return count(size, since)
}

// trailing returns the number of members in (at-length, at].
func (v *View) trailing(at int64, threshold int) Count {
	first, end := 0, 0
	for i, m := range v.members {
		if m.At <= at-v.length {
			first = i + 1
		}
		if m.At <= at {
			end = i + 1
		}
	}
	size, since := max(end-first, 0), int64(0)
	if size > 0 && size >= threshold {
		since = v.members[end-max(threshold, 1)].At
	}
	return count(size, since)
}

func count(size int, since int64) Count {
	if since == 0 {
		return Count{Size: size}
	}
	return Count{Size: size, Since: time.UnixMilli(since)}
}
