package publisher

import "sync"

// A queue holds events between those who publish and the one goroutine that sends. It is bounded by the
// events that wait and those that were taken and aren't finished, together.
type queue struct {
	limit int

	mu      sync.Mutex
	filled  sync.Cond
	waiting []Event
	taken   []Event // in the hands of the goroutine; its memory is used again
	inHand  int     // of those
	closed  bool
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
	case len(q.waiting)+q.inHand >= q.limit:
		return ErrFull
	}
	q.waiting = append(q.waiting, e)
	if len(q.waiting) == 1 {
		q.filled.Signal()
	}
	return nil
}

// take waits for events and returns all of them, in order, or none once the queue is closed and empty. What
// was taken before must be finished.
func (q *queue) take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	clear(q.taken) // lets go of attributes
	q.waiting, q.taken = q.taken[:0], q.waiting
	q.inHand = len(q.taken)
	return q.taken
}

// finished says that n of the events taken are sent or lost.
func (q *queue) finished(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inHand -= n
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) + q.inHand
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
