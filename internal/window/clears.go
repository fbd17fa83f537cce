package window

import (
	"cmp"
	"slices"
)

// Clears holds the newest known clear of each tag of a window. The zero value is empty. It is not
// safe for concurrent use.
//
// The number of tags is bounded; the oldest clears are forgotten first. Floor is the time up to
// which clears may have been forgotten. A member that arrives with a time before Floor, and whose
// tag has no known clear, is not counted ("spared"), since its clear may be among the forgotten
// ones. Members that arrived earlier are not affected, so an attacker cannot get failures on other
// users' accounts spared by logging in to any number of their own accounts.
type Clears struct {
	byTag map[uint64]int64 // milliseconds; tag 0 is of every member
	Floor int64            // milliseconds; 0 if nothing was forgotten
}

// Set records a clear of tag at the given time (milliseconds), unless a newer one is known.
func (c *Clears) Set(tag uint64, at int64) {
	if at <= c.byTag[tag] {
		return
	}
	if c.byTag == nil {
		c.byTag = map[uint64]int64{}
	}
	c.byTag[tag] = at
}

// UpTo returns the clears at or before the given time (milliseconds).
func (c *Clears) UpTo(at int64) Clears {
	earlier := Clears{Floor: c.Floor}
	for tag, t := range c.byTag {
		if t <= at {
			earlier.Set(tag, t)
		}
	}
	return earlier
}

// Limit forgets clears before expired and, of the rest, all but the newest limit, ordered by time
// and tag. It returns how many it forgot because of limit and raises Floor accordingly.
func (c *Clears) Limit(expired int64, limit int) (dropped int) {
	for tag, at := range c.byTag {
		if at < expired {
			delete(c.byTag, tag)
		}
	}
	if len(c.byTag) <= limit {
		return 0
	}
	kept := make([]Record, 0, len(c.byTag))
	for tag, at := range c.byTag {
		kept = append(kept, Record{At: at, Tag: tag})
	}
	slices.SortFunc(kept, func(a, b Record) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Tag, b.Tag)) })
	dropped = len(kept) - limit
	for _, r := range kept[:dropped] {
		delete(c.byTag, r.Tag)
		c.Floor = max(c.Floor, r.At)
	}
	return dropped
}

// covers reports whether a known clear removes m.
func (c *Clears) covers(m Record) bool {
	return len(c.byTag) > 0 && (m.At <= c.byTag[0] || m.At <= c.byTag[m.Tag])
}

// LogTags returns, without duplicates, the tags whose clears affect the members of an encoded log,
// except those in known. Tag 0 is among them if clears of every member are possible.
func LogTags(spec *Spec, log string, known []uint64) []uint64 {
	var tags []uint64
	missing := func(tag uint64) bool { return !slices.Contains(known, tag) && !slices.Contains(tags, tag) }
	for ; len(log) >= RecordSize; log = log[RecordSize:] {
		r := decode(log[:RecordSize])
		if r.isMarker() || r.Member == clearMember {
			continue
		}
		if spec.ClearsAll && len(tags) == 0 && missing(0) {
			tags = append(tags, 0)
		}
		if spec.clearable(r.Tag) && missing(r.Tag) {
			tags = append(tags, r.Tag)
		}
	}
	return tags
}
