package window

import (
	"cmp"
	"slices"
)

// Clears is what is remembered of a window's clears: the newest of each tag,
// as far as they are known. The zero value knows none. It is for one goroutine.
//
// A bounded number of tags is remembered, the newest. Floor is the time up to which a
// clear may have been forgotten for that bound: a member that arrives from before it and
// whose own clear isn't known is spared. Only arriving so late spares a member, not standing
// there when others' clears come: whoever fails on others' accounts is counted when
// it happens, and no number of logins to accounts of his own changes that.
type Clears struct {
	byTag map[uint64]int64 // milliseconds; tag 0 is of every member
	Floor int64            // milliseconds; 0 if nothing was forgotten
}

// Set notes that the newest clear of tag is no older than at (milliseconds).
func (c *Clears) Set(tag uint64, at int64) {
	if at <= c.byTag[tag] {
		return
	}
	if c.byTag == nil {
		c.byTag = map[uint64]int64{}
	}
	c.byTag[tag] = at
}

// UpTo returns the clears that are no later than at (milliseconds).
func (c *Clears) UpTo(at int64) Clears {
	earlier := Clears{Floor: c.Floor}
	for tag, t := range c.byTag {
		if t <= at {
			earlier.Set(tag, t)
		}
	}
	return earlier
}

// Limit forgets clears from before expired and, of the rest, all but the newest
// limit, by time and then tag. It returns how many the limit cost and raises Floor accordingly.
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

// covers reports whether a clear that is known takes m out.
func (c *Clears) covers(m Record) bool {
	return len(c.byTag) > 0 && (m.At <= c.byTag[0] || m.At <= c.byTag[m.Tag])
}

// LogTags returns the tags whose clears say what becomes of the members in an encoded log, each
// once, without those in known.
func LogTags(spec *Spec, log string, known []uint64) []uint64 {
	var tags []uint64
	if spec.ClearsAll && !slices.Contains(known, 0) {
		tags = append(tags, 0)
	}
	for ; len(log) >= RecordSize; log = log[RecordSize:] {
		r := decode(log[:RecordSize])
		if r.At == 0 || r.Member == clearMember || !spec.clearable(r.Tag) || slices.Contains(known, r.Tag) || slices.Contains(tags, r.Tag) {
			continue
		}
		tags = append(tags, r.Tag)
	}
	return tags
}
