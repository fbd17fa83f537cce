package checker

import (
	"sync"
	"sync/atomic"
	"time"
)

// When a store counts as stalled, and how often it is tried then.
const (
	stallAfter = time.Second            // without an answer, and
	stallLeast = 10                     // at least this many consecutive timeouts
	stallRest  = 100 * time.Millisecond // between attempts while it is stalled
)

// ErrStalled is returned for a look-up that was not started because the store has answered none in
// time for a second or longer. One look-up every 100 ms still tries; the first answer ends the
// stall.
var ErrStalled = NewError("stalled", "the store has not answered for a while")

// A breaker keeps a store that never answers from costing every request the timeout: only one
// request in a while waits. A store that refuses connections fails at once and needs no breaker.
type breaker struct {
	stalling atomic.Bool // lets the usual case skip the lock
	mu       sync.Mutex
	since    time.Time // the first of the timeouts
	timeouts int       // consecutive look-ups that timed out
	next     time.Time // when a look-up may try again
}

// admit reports whether a look-up may start at now.
func (b *breaker) admit(now time.Time) bool {
	if !b.stalling.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timeouts < stallLeast || now.Sub(b.since) < stallAfter {
		return true
	}
	if now.Before(b.next) {
		return false
	}
	b.next = now.Add(stallRest)
	return true
}

// learn records whether a look-up that ended at now timed out.
func (b *breaker) learn(now time.Time, timedOut bool) {
	if !timedOut && !b.stalling.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stalling.Store(timedOut)
	if !timedOut {
		b.timeouts = 0
		return
	}
	if b.timeouts == 0 {
		b.since = now
	}
	b.timeouts++
	b.next = now.Add(stallRest)
}
