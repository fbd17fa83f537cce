package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Model compares the backend with an independent model of store.Blocks ([history]), over random
// sequences of puts, unblocks, look-ups and, if the clock can be moved, time.
func Model(t *testing.T, open Open) {
	b := open(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &model{
			suite: suite{b}, rt: rt, run: fmt.Sprintf("m%d-", runs), network: fmt.Sprintf("10.%d.%d.0", runs>>8&255, runs&255), base: b.Now().Add(500 * time.Millisecond).Truncate(time.Millisecond),
			history: history{now: b.Now, scopes: map[checker.Scope]*chapter{}},
		}
		steps := rapid.IntRange(1, 20).Draw(rt, "steps")
		for range steps {
			m.step()
		}
		m.compareSome(m.compareAll())
	})
}

type model struct {
	suite

	rt      *rapid.T
	run     string // starts the names of its scopes
	network string
	base    time.Time
	history history
}

func (m *model) step() {
	kinds := []string{"put", "put", "put", "unblock", "lookup"}
	if m.Movable {
		kinds = append(kinds, "time")
	}
	switch rapid.SampledFrom(kinds).Draw(m.rt, "step") {
	case "put":
		m.put()
	case "unblock":
		m.unblock()
	case "lookup":
		m.compareAll()
	case "time":
		m.Reach(m.rt, m.Now().Add(time.Duration(rapid.IntRange(1, 7200).Draw(m.rt, "seconds"))*time.Second))
	}
}

func (m *model) scope() checker.Scope {
	return rapid.SampledFrom(m.scopes()).Draw(m.rt, "scope")
}

// scopes are those of this run: names that are odd, one that keys hold the hash of, an address's
// range.
func (m *model) scopes() []checker.Scope {
	long := m.run + strings.Repeat("long", 64)
	if m.Longest > 0 {
		long = long[:m.Longest]
	}
	return []checker.Scope{
		scope(m.run + "a"), scope(m.run + "b}{"), scope(m.run + "c:d"), scope(long),
		{Type: checker.ScopeIP, Value: m.network + "/24"},
		{Type: checker.ScopeIP, Value: m.network},
	}
}

// before is a time in the hour before the present, seldom twice the same.
func (m *model) before(label string) time.Time {
	return m.Now().Add(-time.Duration(rapid.IntRange(1, 3600).Draw(m.rt, label)) * time.Second).Truncate(time.Millisecond)
}

func (m *model) draw() store.Put {
	at := m.before("event")
	id := rapid.SampledFrom([]string{"", "e1", "e2", "e3", "e4", "e5"}).Draw(m.rt, "id")
	p := temporary(m.scope(), id, at, 0)
	// Expiries are half a second off the clock's steps, so that rounding in a store does not
	// matter.
	switch rapid.IntRange(0, 3).Draw(m.rt, "length") {
	case 0:
		p.Block.ExpiresAt = time.Time{}
	case 1:
		p.Block.ExpiresAt = at.Add(time.Duration(rapid.IntRange(1, 60).Draw(m.rt, "minutes"))*time.Minute + 500*time.Millisecond)
	default:
		p.Block.ExpiresAt = m.base.Add(time.Duration(rapid.IntRange(2, 9).Draw(m.rt, "hours")) * time.Hour)
	}
	if !m.Movable && !p.Block.Permanent() && p.Block.ExpiresAt.Sub(m.Now()).Abs() < time.Minute {
		p.Block.ExpiresAt = m.base.Add(-time.Hour) // too near to the present to be sure
	}
	if rapid.IntRange(0, 4).Draw(m.rt, "operator") == 0 {
		p = operator(p)
	}
	return p
}

func (m *model) put() {
	puts := make([]store.Put, rapid.IntRange(1, 4).Draw(m.rt, "puts"))
	for i := range puts {
		puts[i] = m.draw()
	}
	if m.Brief { // a tiered store has an order of its own within a batch
		puts = puts[:1]
	}
	got, err := m.Blocks.Put(context.Background(), puts)
	if err != nil {
		m.rt.Fatalf("Put: %v", err)
	}
	for i, p := range puts {
		outcome, inForce := m.history.put(p)
		if got[i].Err != nil || got[i].Outcome != outcome {
			m.rt.Fatalf("Put %+v at %v: outcome %d, error %v; want %d", p, m.Now(), got[i].Outcome, got[i].Err, outcome)
		}
		nothing := got[i].Outcome == store.Unblocked || got[i].Outcome == store.Lapsed
		if !m.Brief || !nothing {
			m.same(m.rt, got[i].Block, inForce)
		}
	}
}

func (m *model) unblock() {
	r := store.Revocation{Scope: m.scope(), At: m.before("unblock")}
	want := m.history.unblock(r)
	got, err := m.Blocks.Unblock(context.Background(), r)
	if err != nil {
		m.rt.Fatalf("Unblock: %v", err)
	}
	m.sameAll("Unblock", got, want)
}

// compareAll looks at everything that this run wrote, and returns all that is listed.
func (m *model) compareAll() []checker.Block {
	ctx := context.Background()
	scopes := append(m.scopes(), scope(m.run+"never"))
	got, err := m.Blocks.Lookup(ctx, scopes)
	if err != nil {
		m.rt.Fatalf("Lookup: %v", err)
	}
	var want []checker.Block
	for _, s := range scopes {
		want = append(want, m.history.blocks(s)...)
	}
	slices.SortFunc(got, listed) // a look-up has no order
	slices.SortFunc(want, listed)
	m.sameAll("Lookup", got, want)
	all, err := m.Blocks.List(ctx, 0)
	if err != nil {
		m.rt.Fatalf("List: %v", err)
	}
	got = slices.DeleteFunc(slices.Clone(all), func(b checker.Block) bool { return !slices.Contains(scopes, b.Scope) })
	m.sameAll("List", got, want)
	return all
}

// compareSome looks at the first of all.
func (m *model) compareSome(all []checker.Block) {
	limit := rapid.IntRange(1, 8).Draw(m.rt, "limit")
	some, err := m.Blocks.List(context.Background(), limit)
	if err != nil {
		m.rt.Fatalf("List: %v", err)
	}
	m.sameAll("List of some", some, all[:min(limit, len(all))])
}

// listed is the order of List: permanent ones first, then by scope.
func listed(a, b checker.Block) int {
	switch {
	case a.Permanent() && !b.Permanent():
		return -1
	case b.Permanent() && !a.Permanent():
		return 1
	}
	return cmp.Or(cmp.Compare(a.Scope.Type, b.Scope.Type), cmp.Compare(a.Scope.Value, b.Scope.Value))
}

func (m *model) sameAll(what string, got, want []checker.Block) {
	if len(got) != len(want) {
		m.rt.Fatalf("%s: %d blocks %+v, want %d: %+v", what, len(got), got, len(want), want)
	}
	for i := range want {
		m.same(m.rt, got[i], want[i])
	}
}
