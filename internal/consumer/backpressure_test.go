package consumer

import (
	"errors"
	"testing"

	"github.com/wardstream/wardstream/internal/resp"
)

func TestBackpressure(t *testing.T) {
	t.Parallel()
	oom := resp.Error("OOM command not allowed")
	for name, tc := range map[string]struct {
		err              error
		waiting, backlog int
		capacity, paused bool
	}{
		"nothing waits":                     {nil, 0, 0, true, false},
		"a batch waits":                     {nil, 10, 0, true, false},
		"two batches wait":                  {nil, 20, 0, false, false},
		"much is not yet fetched":           {nil, 0, 639, true, false},
		"too much is not yet fetched":       {nil, 0, 640, true, true},
		"too much in all":                   {nil, 40, 600, false, true},
		"out of memory and nothing waits":   {oom, 0, 0, true, false},
		"out of memory and something waits": {oom, 1, 0, false, true},
		"another error":                     {errors.New("OOM command not allowed"), 1, 0, true, false},
	} {
		b := backpressure{batchSize: 10}
		b.observe(tc.err)
		b.observe(nil)
		if b.hasCapacity(tc.waiting) != tc.capacity || b.paused(tc.waiting, tc.backlog) != tc.paused {
			t.Errorf("%s: capacity %t, paused %t", name, b.hasCapacity(tc.waiting), b.paused(tc.waiting, tc.backlog))
		}
		if b.reset(); b.outOfMemory {
			t.Errorf("%s: still out of memory", name)
		}
		if !b.fits(40) || b.fits(41) {
			t.Errorf("%s: %t, %t", name, b.fits(40), b.fits(41))
		}
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	b := backlog{entries: 1}
	b.add(10)
	b.advance("5-0", 4)
	if b != (backlog{entries: 7, after: "5-0"}) {
		t.Errorf("after a page of 4: %+v", b)
	}
	b.advance("9-0", 50)
	if b != (backlog{entries: 1, after: "9-0"}) {
		t.Errorf("after a page of more than were counted: %+v", b)
	}
	if b.restart(); b != (backlog{entries: 1}) {
		t.Errorf("after a lost reply: %+v", b)
	}
	b.clear()
	if b.restart(); b != (backlog{entries: 1}) {
		t.Errorf("after a lost reply with nothing known: %+v", b)
	}
}

func TestPageSize(t *testing.T) {
	t.Parallel()
	p := pageSize{entries: 512, most: 512}
	for _, step := range []struct{ bytes, entries, want int }{
		{1000, 0, 512}, {1000, 10, 512}, {readBytes * 2, 4, 2}, {readBytes * 10, 1, 1}, {100, 1, 2}, {100, 1, 4},
	} {
		if p.adapt(step.bytes, step.entries); p.entries != step.want {
			t.Errorf("after %d entries of %d bytes: %d, want %d", step.entries, step.bytes, p.entries, step.want)
		}
	}
	if p.shrink(); p.entries != 1 {
		t.Errorf("shrunk to %d", p.entries)
	}
}

// TestZeroVerdictIsPending: a handler that forgets an entry leaves it pending.
func TestZeroVerdictIsPending(t *testing.T) {
	t.Parallel()
	if (Verdict{}).Status != Pending {
		t.Error("the zero Verdict is not Pending")
	}
	d := &decider{maxDeliveries: 2}
	it := &item{}
	for _, status := range []Status{Pending, Dead + 1} { // one that no handler may give is no reason to ack either
		if d.note([]*item{it}, []Verdict{{Status: status}}, errors.New("outage")); it.verdict.Status != Pending || it.failures != 0 {
			t.Errorf("status %d: %+v", status, it)
		}
	}
}
