package checker

import (
	"sync"
	"sync/atomic"
	"time"
)

// When a store counts as stalled, and what is spared then.
const (
	stallAfter = time.Second            // without any answer,
	stallLeast = 10                     // and with so many look-ups that waited in vain
	stallRest  = 100 * time.Millisecond // between look-ups that try again
)

// ErrStalled is the failure of a look-up that wasn't begun, because for a second or longer none was answered in time.
// One in a while still tries; the first answer ends it.
var ErrStalled = NewError("stalled", "the store has not answered for a while")

// A breaker sees to it that a store which swallows requests costs one of them the timeout now and
// then, not every one. A store that refuses is no concern of it: that costs nothing.
type breaker struct {
	stalling atomic.Bool // spares the usual case the lock
	mu       sync.Mutex
	since    time.Time // of the first of
	vain     int       // look-ups in a row that waited in vain
	next     time.Time // when one may try again
}

// admit reports whether a look-up may begin at now.
func (b *breaker) admit(now time.Time) bool {
	if !b.stalling.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.vain < stallLeast || now.Sub(b.since) < stallAfter {
		return true
	}
	if now.Before(b.next) {
		return false
	}
	b.next = now.Add(stallRest)
	return true
}

// learn takes note of how a look-up ended at now.
func (b *breaker) learn(now time.Time, inVain bool) {
	if !inVain && !b.stalling.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stalling.Store(inVain)
	if !inVain {
		b.vain = 0
		return
	}
	if b.vain == 0 {
		b.since = now
	}
	b.vain++
	b.next = now.Add(stallRest)
}
