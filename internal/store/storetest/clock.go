package storetest

import (
	"sync"
	"time"
)

// A Clock stands still until it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
	// Moved, if set, is called for every move.
	Moved func(now time.Time)
}

// NewClock returns a clock that stands at the present.
func NewClock() *Clock { return NewClockAt(time.Now().UTC().Truncate(time.Millisecond)) }

// NewClockAt returns a clock that stands at the given time.
func NewClockAt(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Reach moves the clock, never back.
func (c *Clock) Reach(_ T, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.now) {
		c.now = at
		if c.Moved != nil {
			c.Moved(at)
		}
	}
}
