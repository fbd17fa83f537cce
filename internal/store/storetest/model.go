package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memory"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Model compares the backend with the store in memory over random histories of
// puts, unblocks, look-ups and, where the clock can be moved, time.
func Model(t *testing.T, open Open) {
	b := open(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &model{
			suite: suite{b}, rt: rt, run: fmt.Sprintf("m%d-", runs), base: b.Now().Add(500 * time.Millisecond),
			reference: memory.NewBlocks(b.Now),
		}
		steps := rapid.IntRange(1, 20).Draw(rt, "steps")
		for range steps {
			m.step()
		}
		m.compareAll()
	})
}

type model struct {
	suite

	rt        *rapid.T
	run       string
	base      time.Time
	reference *memory.Blocks
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
	return checker.Scope{Type: checker.ScopeUser, Value: m.run + rapid.SampledFrom([]string{"a", "b}{", "c:d"}).Draw(m.rt, "scope")}
}

// before is a time in the hour before the present, seldom twice the same.
func (m *model) before(label string) time.Time {
	return m.Now().Add(-time.Duration(rapid.IntRange(1, 3600).Draw(m.rt, label)) * time.Second).Truncate(time.Millisecond)
}

func (m *model) draw() store.Put {
	at := m.before("event")
	id := rapid.SampledFrom([]string{"", "e1", "e2", "e3", "e4", "e5"}).Draw(m.rt, "id")
	p := temporary(m.scope(), id, at, 0)
	// Ends are half a second off the clock's moves: no store has to be right about the very moment.
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
	want, _ := m.reference.Put(context.Background(), puts)
	got, err := m.Blocks.Put(context.Background(), puts)
	if err != nil {
		m.rt.Fatalf("Put: %v", err)
	}
	for i := range puts {
		if got[i].Err != nil || got[i].Outcome != want[i].Outcome {
			m.rt.Fatalf("Put %+v at %v: outcome %d, error %v; want %d, %v", puts[i], m.Now(), got[i].Outcome, got[i].Err, want[i].Outcome, want[i].Err)
		}
		nothing := got[i].Outcome == store.Unblocked || got[i].Outcome == store.Lapsed
		if !m.Brief || !nothing {
			m.same(m.rt, got[i].Block, want[i].Block)
		}
	}
}

func (m *model) unblock() {
	r := store.Revocation{Scope: m.scope(), At: m.before("unblock")}
	want, _ := m.reference.Unblock(context.Background(), r)
	got, err := m.Blocks.Unblock(context.Background(), r)
	if err != nil {
		m.rt.Fatalf("Unblock: %v", err)
	}
	m.sameAll("Unblock", got, want)
}

// compareAll looks at everything that this run wrote.
func (m *model) compareAll() {
	ctx := context.Background()
	scopes := []checker.Scope{scope(m.run + "a"), scope(m.run + "b}{"), scope(m.run + "c:d"), scope(m.run + "never")}
	want, _ := m.reference.Lookup(ctx, scopes)
	got, err := m.Blocks.Lookup(ctx, scopes)
	if err != nil {
		m.rt.Fatalf("Lookup: %v", err)
	}
	m.sameAll("Lookup", got, want)
	all, err := m.Blocks.List(ctx, 0)
	if err != nil {
		m.rt.Fatalf("List: %v", err)
	}
	got = nil
	for _, b := range all {
		if strings.HasPrefix(b.Scope.Value, m.run) {
			got = append(got, b)
		}
	}
	want, _ = m.reference.List(ctx, 0)
	m.sameAll("List", got, want)
}

func (m *model) sameAll(what string, got, want []checker.Block) {
	if len(got) != len(want) {
		m.rt.Fatalf("%s: %d blocks %+v, want %d: %+v", what, len(got), got, len(want), want)
	}
	for i := range want {
		m.same(m.rt, got[i], want[i])
	}
}
