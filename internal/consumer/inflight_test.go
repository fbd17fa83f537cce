package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// loop returns a read loop that has joined the group and that the test steps itself, so that
// nothing depends on when heartbeats come.
func (b *fixture) loop(o Options, h Handler) *readLoop {
	b.t.Helper()
	c, err := New(o, h)
	if err != nil {
		b.t.Fatal(err)
	}
	l := c.loops[0]
	if err := l.membership.join(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return l
}

// makeIdle makes the entries look as if their consumer had left them alone for an hour.
func (b *fixture) makeIdle(l *readLoop, ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		owner := b.owner(id).Consumer
		err := b.client.Do(context.Background(), "XCLAIM", b.stream, testGroup, owner, 0, id, "IDLE", time.Hour.Milliseconds(), "JUSTID").Err()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	l.claimer.from = firstID
}

// A delivery is what Redis knows of a pending entry.
type delivery struct {
	Consumer string
	Count    int64
	Idle     time.Duration
}

func (b *fixture) owner(id string) delivery {
	b.t.Helper()
	found, err := b.client.XPendingExt(context.Background(), &redis.XPendingExtArgs{Stream: b.stream, Group: testGroup, Start: id, End: id, Count: 1}).Result()
	if err != nil || len(found) != 1 {
		b.t.Fatalf("%s is not pending: %v, %v", id, found, err)
	}
	return delivery{found[0].Consumer, found[0].RetryCount, found[0].Idle}
}

// outageFor returns a handler that fails with what it is given as long as *down.
func outageFor(down *bool) *recorder {
	return &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		if *down {
			return all(batch, Pending), errOutage
		}
		return all(batch, Done), nil
	}}
}

// TestInFlightEntriesAreNotHandledTwice: what waits in memory for its next attempt is neither
// claimed by the loop that has it nor taken for something that another process of its name left,
// though its heartbeat was late; what others left in the same page is handled.
func TestInFlightEntriesAreNotHandledTwice(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(*readLoop) error{
		"claim":    func(l *readLoop) error { return l.claim(context.Background()) },
		"recovery": func(l *readLoop) error { return l.recoverOwn(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			down := true
			h := outageFor(&down)
			l := b.loop(b.options(), h)
			ids := b.add(3)
			if err := l.read(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.add(1)
			left := b.deliver(map[string]string{"claim": "dead", "recovery": l.name}[name], 1)[0]
			b.makeIdle(l, append(ids, left)...)
			down = false
			if err := find(l); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				if n := h.times(id); n != 1 {
					t.Errorf("%s, which waits for its next attempt, was handled %d times", id, n)
				}
			}
			if n := h.times(left); n != 1 {
				t.Errorf("%s, which another process left, was handled %d times", left, n)
			}
			if n := l.inFlight.waiting(); n != len(ids) {
				t.Errorf("%d entries wait, want %d", n, len(ids))
			}
		})
	}
}

// TestHeartbeatIsNotADelivery: an entry that takes long stays its consumer's, is not idle, and is
// no nearer to becoming a poison candidate, however often its heartbeat comes.
func TestHeartbeatIsNotADelivery(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	down := true
	l := b.loop(b.options(), outageFor(&down))
	id := b.add(1)[0]
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.makeIdle(l, id)
	for range 2 * l.processor.decider.maxDeliveries {
		if err := l.heartbeater.beat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if d := b.owner(id); d.Consumer != l.name || d.Count != 1 || d.Idle >= time.Hour {
		t.Errorf("after the heartbeats the entry is %+v, want it delivered once to %s", d, l.name)
	}
	if n := l.inFlight.waiting(); n != 1 {
		t.Errorf("%d entries wait, want 1", n)
	}
}

// TestHeartbeatTouchesOnlyOwnEntries: only what is in flight here is kept.
func TestHeartbeatTouchesOnlyOwnEntries(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	down := true
	l := b.loop(b.options(), outageFor(&down))
	b.add(1)
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.add(1)
	other := b.deliver("dead", 1)[0]
	b.makeIdle(l, other)
	if err := l.heartbeater.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := b.owner(other); d.Consumer != "dead" || d.Idle < time.Hour {
		t.Errorf("another consumer's entry is %+v", d)
	}
}

// TestPoisonMarkerExpires: whether the attempt fails, ends the process or is made
// again, the marker has a TTL that outlasts the time until another consumer claims the entry.
func TestPoisonMarkerExpires(t *testing.T) {
	t.Parallel()
	for name, owner := range map[string]string{"new": "", "of this process": "own", "of another process": "another"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			l := b.loop(b.options(), &recorder{})
			if owner == "own" {
				owner = l.processor.poison.token
			}
			const left = time.Hour
			if owner != "" {
				if err := b.client.Set(t.Context(), b.marker("1-1"), owner, left).Err(); err != nil {
					t.Fatal(err)
				}
			}
			it := &item{Entry: Entry{Stream: b.stream, ID: "1-1", Deliveries: 9}}
			killed, err := l.processor.poison.mark(t.Context(), it)
			if err != nil || killed != (owner == "another") {
				t.Fatalf("marked by another process: %t, %v", killed, err)
			}
			ttl := b.client.PTTL(t.Context(), b.marker("1-1")).Val()
			if ttl <= DefaultClaimMinIdle || ttl > markerTTL || owner != "" && ttl > left {
				t.Errorf("the marker's TTL is %s", ttl)
			}
		})
	}
}

// TestOutageRetriesDoNotCountAsDeliveries: what fails with an error of the stores is delivered
// once, however many attempts it takes.
func TestOutageRetriesDoNotCountAsDeliveries(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	now, down := time.Now(), true
	o := b.options()
	o.Now = func() time.Time { return now }
	h := outageFor(&down)
	l := b.loop(o, h)
	id := b.add(1)[0]
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 * l.processor.decider.maxDeliveries {
		now = now.Add(2 * backoffCap)
		l.retryDue(t.Context())
	}
	if e := h.entry(id); e.Deliveries != 1 || len(b.deadLetters()) != 0 {
		t.Errorf("after %d attempts it counts as delivered %d times; %d dead letters", h.times(id), e.Deliveries, len(b.deadLetters()))
	}
	down, now = false, now.Add(2*backoffCap)
	l.retryDue(t.Context())
	if n, err := b.pending(); n != 0 || err != nil {
		t.Errorf("%d pending, %v", n, err)
	}
}

// TestOutageBoundsEntriesInMemory: while two batches wait for their next attempt nothing is
// claimed from others, who might be able to handle it, and what is pending here stays in Redis; new
// entries go on being read.
func TestOutageBoundsEntriesInMemory(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	now, down := time.Now(), true
	o := b.options()
	o.BatchSize, o.Now = 4, func() time.Time { return now }
	l := b.loop(o, outageFor(&down))
	b.add(retryBatches / 2 * o.BatchSize)
	for l.inFlight.waiting() < retryBatches/2*o.BatchSize {
		if err := l.read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.add(2)
	others, own := b.deliver("dead", 1)[0], b.deliver(l.name, 1)[0]
	b.makeIdle(l, others, own)
	l.backlog.entries, l.claimer.due = 1, now
	held := l.inFlight.waiting()
	for range 6 { // more than it takes to page through all that is pending
		if err := l.step(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if d := b.owner(others); d.Consumer != "dead" || d.Count != 1 {
		t.Errorf("another's entry was claimed: %+v", d)
	}
	if d := b.owner(own); d.Count != 1 || l.inFlight.waiting() != held || l.backlog.entries != 1 {
		t.Errorf("an entry of one's own was taken into memory: %+v, %d wait, %d not fetched", d, l.inFlight.waiting(), l.backlog.entries)
	}
}
