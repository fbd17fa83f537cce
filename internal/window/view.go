package window

import (
	"cmp"
	"slices"
)

// A View is a window as its log tells it: the newest members that were not
// cleared, each once, and the clears. It is for one goroutine.
type View struct {
	spec     *Spec
	capacity int
	length   int64    // milliseconds
	members  []Record // by time
	clears   []Record // newest of each tag
}

// Replay returns the view of an encoded log. Records that are cut off at the
// end are ignored.
func Replay(spec *Spec, log string) *View {
	v := &View{spec: spec, capacity: spec.Capacity(), length: spec.Length.Milliseconds()}
	v.members = make([]Record, 0, min(len(log)/RecordSize+4, v.capacity+4))
	for ; len(log) >= RecordSize; log = log[RecordSize:] {
		if r := decode(log[:RecordSize]); r.At != 0 { // else a Marker
			v.add(r)
		}
	}
	return v
}

// Apply carries out op and returns its count.
func (v *View) Apply(op *Op) int {
	r, changes := op.Record()
	if !changes {
		return v.trailing(op.Time.UnixMilli())
	}
	at, live := v.add(r)
	if r.Member == clearMember || !live {
		return 0
	}
	return v.around(at)
}

// Compact returns the shortest log with the same view.
func (v *View) Compact() []byte {
	out := make([]byte, 0, (len(v.members)+len(v.clears))*RecordSize)
	for _, r := range v.clears {
		out = r.Append(out)
	}
	for _, r := range v.members {
		out = r.Append(out)
	}
	return out
}

// add takes r in and reports, of a member, the time it stands at now and
// whether it counts. A member that a producer sends again as a second entry
// stands at its first time; only where a clear lies between the two does it
// depend on their order whether it counts.
func (v *View) add(r Record) (at int64, live bool) {
	if r.Member == clearMember {
		v.clear(r)
		return r.At, false
	}
	if v.cleared(r) {
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
	}
	return r.At, true
}

// index finds a member. What comes again most often came last.
func (v *View) index(member uint64) int {
	for i := len(v.members) - 1; i >= 0; i-- {
		if v.members[i].Member == member {
			return i
		}
	}
	return -1
}

// byTime orders records by time and then by member, so that every worker
// drops the same ones for want of room.
func byTime(a, b Record) int {
	if a.At != b.At {
		return cmp.Compare(a.At, b.At)
	}
	return cmp.Compare(a.Member, b.Member)
}

func (v *View) clear(r Record) {
	i := slices.IndexFunc(v.clears, func(c Record) bool { return c.Tag == r.Tag })
	switch {
	case i < 0:
		v.clears = append(v.clears, r)
		slices.SortFunc(v.clears, func(a, b Record) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Tag, b.Tag)) })
		if len(v.clears) > v.capacity {
			v.clears = slices.Delete(v.clears, 0, 1)
		}
	case v.clears[i].At < r.At:
		v.clears = slices.Delete(v.clears, i, i+1)
		v.clear(r)
		return
	}
	v.members = slices.DeleteFunc(v.members, v.cleared)
}

func (v *View) cleared(m Record) bool {
	for _, c := range v.clears {
		if (c.Tag == 0 || c.Tag == m.Tag) && m.At <= c.At {
			return true
		}
	}
	return false
}

// around is the most members in any span of length that holds the time at.
func (v *View) around(at int64) int {
	most, left := 0, 0
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
		most = max(most, right-left+1)
	}
	return most
}

// trailing is the members in (at-length, at].
func (v *View) trailing(at int64) int {
	n := 0
	for _, m := range v.members {
		if m.At <= at && m.At > at-v.length {
			n++
		}
	}
	return n
}
