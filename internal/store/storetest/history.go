package storetest

import (
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// history is an independent model of a block store: it records all puts since a block began, and
// the strongest of them is in effect. Every store is compared with it, the one in memory included.
type history struct {
	now    func() time.Time
	scopes map[checker.Scope]*chapter
}

// A chapter is about one scope.
type chapter struct {
	puts      []store.Put // since the block began, the first of which began it
	tombstone time.Time   // of the last unblock that stands
}

func (a *history) of(s checker.Scope) *chapter {
	if a.scopes[s] == nil {
		a.scopes[s] = &chapter{}
	}
	c := a.scopes[s]
	if b, held := c.inForce(); held && !b.Permanent() && !b.ExpiresAt.After(a.now()) {
		c.puts = nil
	}
	return c
}

// inForce is what the puts come to.
func (c *chapter) inForce() (checker.Block, bool) {
	if len(c.puts) == 0 {
		return checker.Block{}, false
	}
	b := c.puts[0].Block
	if at := c.permanent(); at >= 0 { // the first permanent one, with the attributes that an operator gave it last
		b = c.puts[at].Block
		for _, p := range c.puts[at+1:] {
			if p.Block.Permanent() && p.EvidenceTime.IsZero() {
				b = p.Block
			}
		}
		b.ID = c.puts[at].Block.ID
	} else { // the first of those that end last
		for _, p := range c.puts {
			if p.Block.ExpiresAt.After(b.ExpiresAt) {
				b = p.Block
			}
		}
		b.ID = c.puts[0].Block.ID
	}
	b.CreatedAt = c.puts[0].Block.CreatedAt
	return b, true
}

// permanent is which put made the block permanent, -1 if none did.
func (c *chapter) permanent() int {
	return slices.IndexFunc(c.puts, func(p store.Put) bool { return p.Block.Permanent() })
}

// put says what a put comes to, and what is in force then.
func (a *history) put(p store.Put) (store.Outcome, checker.Block) {
	c, operator := a.of(p.Block.Scope), p.EvidenceTime.IsZero()
	before, held := c.inForce()
	if !operator && !c.tombstone.IsZero() && !p.EvidenceTime.After(c.tombstone) {
		return store.Unblocked, before
	}
	if !p.Block.Permanent() && !p.Block.ExpiresAt.After(a.now()) {
		return store.Lapsed, before
	}
	if operator {
		c.tombstone = time.Time{}
	}
	same := held && p.Block.ID != "" && p.Block.ID == before.ID && p.Block.Permanent() == before.Permanent()
	c.puts = append(c.puts, p)
	after, _ := c.inForce()
	switch {
	case !held || same && c.permanent() <= 0:
		return store.Began, after
	case same || after.Permanent() && !before.Permanent():
		return store.BecamePermanent, after
	case after.ExpiresAt.After(before.ExpiresAt):
		return store.Extended, after
	}
	return store.Kept, after
}

// unblock returns what it lifts.
func (a *history) unblock(r store.Revocation) []checker.Block {
	lifted := a.blocks(r.Scope)
	c := a.of(r.Scope)
	c.puts = nil
	if r.At.After(c.tombstone) {
		c.tombstone = r.At
	}
	return lifted
}

// blocks are those of a scope: one, or none.
func (a *history) blocks(s checker.Scope) []checker.Block {
	if b, held := a.of(s).inForce(); held {
		return []checker.Block{b}
	}
	return nil
}
