package consumer

import (
	"context"
	"testing"
	"time"
)

func (b *fixture) peers(own ...string) *peers {
	p := &peers{client: b.client, stream: b.stream, group: testGroup, timeout: 5 * time.Second, own: map[string]bool{}}
	for _, name := range own {
		p.own[name] = true
	}
	return p
}

func (b *fixture) settles(p *peers, id string) bool {
	b.t.Helper()
	atWork, err := p.settle(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return atWork
}

// TestPeersEarlierEntriesAreAwaited: a decision about an entry waits for what other processes hold
// from before it, for nothing of its own process, and for nothing that comes later.
func TestPeersEarlierEntriesAreAwaited(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.group(testGroup)
	mine, theirs, last := b.add(1)[0], b.add(1)[0], b.add(1)[0]
	b.deliver("w-0", 1)
	if p := b.peers("w-0", "w-1"); b.settles(p, last) {
		t.Error("what this process has pending counts as a peer's")
	}
	b.deliver("other-0", 1)
	p := b.peers("w-0", "w-1")
	if busy, err := p.before(t.Context(), last); err != nil || busy["other-0"] != theirs || len(busy) != 1 {
		t.Errorf("before %s: %v (%v), want %s of other-0", last, busy, err, theirs)
	}
	if busy, err := p.before(t.Context(), mine); err != nil || len(busy) != 0 {
		t.Errorf("before %s: %v (%v), want nothing", mine, busy, err)
	}
	go func() { _ = b.client.XAck(context.WithoutCancel(t.Context()), b.stream, testGroup, theirs).Err() }()
	if !b.settles(p, last) {
		t.Error("a peer that had an entry pending isn't at work")
	}
}

// TestPeersStuckPeerIsAwaitedOnce: a peer that makes no progress costs one wait, and another when
// it has an entry that it didn't have then.
func TestPeersStuckPeerIsAwaitedOnce(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.group(testGroup)
	first, second, last := b.add(1)[0], b.add(1)[0], b.add(1)[0]
	b.deliver("dead-0", 1)
	p := b.peers("w-0")
	if !b.settles(p, last) {
		t.Error("a peer that has an entry pending isn't at work")
	}
	if busy, err := p.before(t.Context(), last); err != nil || len(busy) != 0 {
		t.Errorf("%v (%v) is waited for again", busy, err)
	}
	b.deliver("dead-0", 1)
	if err := b.client.XAck(t.Context(), b.stream, testGroup, first).Err(); err != nil {
		t.Fatal(err)
	}
	if busy, err := p.before(t.Context(), last); err != nil || busy["dead-0"] != second {
		t.Errorf("%v (%v) is waited for, want %s", busy, err, second)
	}
}

func TestOlderComparesEntryIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"1-0", "2-0", true},
		{"2-0", "1-0", false},
		{"1-0", "1-1", true},
		{"1-1", "1-1", false},
		{"9-0", "10-0", true},
		{"1-10", "1-9", false},
		{"", "1-0", true},
		{"1", "1-1", true},
	} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("%q is older than %q: %t", c.a, c.b, got)
		}
	}
}
