package publisher

import "sync"

// A queue holds events between Publish and the sending goroutine. Its limit includes events that
// were taken and are not finished.
type queue struct {
	limit int

	mu       sync.Mutex
	filled   sync.Cond
	waiting  []Event
	taken    []Event // the last batch taken; its memory is reused
	inFlight int     // events of taken that are not finished
	closed   bool
}

func (q *queue) init(limit int) {
	q.limit = limit
	q.filled.L = &q.mu
}

func (q *queue) put(e Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case len(q.waiting)+q.inFlight >= q.limit:
		return ErrFull
	}
	q.waiting = append(q.waiting, e)
	if len(q.waiting) == 1 {
		q.filled.Signal()
	}
	return nil
}

// take waits for events and returns all of them, in order; nil once the queue is closed and empty.
// All events taken before must be finished.
func (q *queue) take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	clear(q.taken) // releases the attributes
	q.waiting, q.taken = q.taken[:0], q.waiting
	q.inFlight = len(q.taken)
	return q.taken
}

// finished records that n of the taken events were sent or dropped.
func (q *queue) finished(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight -= n
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) + q.inFlight
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
