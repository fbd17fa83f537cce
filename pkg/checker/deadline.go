package checker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// buckets is the number of distinct deadlines within one timeout.
const buckets = 16

// A bounded context has its parent's values and a deadline but not its parent's cancellation.
// Contexts that begin at about the same time share a deadline, which spares each check a timer: 2
// of about 12 microseconds.
type bounded struct {
	context.Context

	end *deadlineBucket
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

// A deadlineBucket is a deadline shared by several contexts.
type deadlineBucket struct {
	number int64 // its deadline divided by the width of a bucket
	at     time.Time
	passed chan struct{}
}

// deadlines returns shared deadlines for look-ups bounded by timeout.
type deadlines struct {
	timeout time.Duration
	last    atomic.Pointer[deadlineBucket]
	mu      sync.Mutex
}

// after returns the latest bucket that ends no later than begin plus the timeout: at most one
// bucket width earlier. It is safe for concurrent use.
func (m *deadlines) after(begin time.Time) *deadlineBucket {
	width := max(m.timeout/buckets, 1)
	number := begin.Add(m.timeout).UnixNano() / int64(width)
	if last := m.last.Load(); last != nil && last.number == number {
		return last
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := m.last.Load(); last != nil && last.number == number {
		return last
	}
	left := time.Duration(number*int64(width) - begin.UnixNano())
	next := &deadlineBucket{number: number, at: begin.Add(left), passed: make(chan struct{})} // keeps the monotonic clock
	time.AfterFunc(left, func() { close(next.passed) })
	m.last.Store(next)
	return next
}
