package checker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// grains is how many moments a timeout is divided into at which look-ups end.
const grains = 16

// A bounded is a context that has its parent's values, a deadline, and no cancellation. Those that begin
// about the same time end together, so that a check costs no timer of its own: two microseconds of some twelve.
type bounded struct {
	context.Context

	end *moment
}

func (b bounded) Deadline() (time.Time, bool) { return b.end.at, true }
func (b bounded) Done() <-chan struct{}       { return b.end.passed }

func (b bounded) Err() error {
	select {
	case <-b.end.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A moment is the deadline of several contexts.
type moment struct {
	number int64 // of the grain
	at     time.Time
	passed chan struct{}
}

// moments makes the deadlines of look-ups that may take as long as timeout.
type moments struct {
	timeout time.Duration
	last    atomic.Pointer[moment]
	mu      sync.Mutex
}

// after returns the last moment that is no later than the timeout after begin: at most a grain earlier.
func (m *moments) after(begin time.Time) *moment {
	grain := max(m.timeout/grains, 1)
	number := begin.Add(m.timeout).UnixNano() / int64(grain)
	if last := m.last.Load(); last != nil && last.number == number {
		return last
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := m.last.Load(); last != nil && last.number == number {
		return last
	}
	left := time.Duration(number*int64(grain) - begin.UnixNano())
	next := &moment{number: number, at: begin.Add(left), passed: make(chan struct{})} // keeps the monotonic clock
	time.AfterFunc(left, func() { close(next.passed) })
	m.last.Store(next)
	return next
}
