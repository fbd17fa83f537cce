package ingress

import (
	"sync"
	"time"
)

// A limiter lets one thing pass in a while and counts the others.
type limiter struct {
	every time.Duration
	mu    sync.Mutex
	next  time.Time
	left  int
}

// pass reports whether one may pass at now, and how many didn't since the last.
func (l *limiter) pass(now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.left++
		return 0, false
	}
	left, l.left, l.next = l.left, 0, now.Add(l.every)
	return left, true
}
