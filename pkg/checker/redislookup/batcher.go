package redislookup

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxTrips bounds the concurrent round trips. Look-ups that arrive while all are in use wait
	// and share the next one. A second trip halves that wait; more trips make the shared ones
	// smaller, which costs more than it saves (measured with 1, 2, 4 and 8).
	maxTrips = 2
	// maxShared bounds the look-ups of one round trip, so that its MGET does not block the server
	// for long.
	maxShared = 128
)

// A batcher sends questions to Redis. While there are few, each is sent at once and alone; under
// load, questions that arrive together share a round trip, which costs client and server a
// fraction. It never delays a question to wait for others.
type batcher struct {
	ask      func(context.Context, []*question) // fills in their replies
	separate bool                               // each question has a round trip of its own
	mu       sync.Mutex
	active   int // round trips
	waiting  []*question
}

// submit sends q, alone or with others, and returns when q has its reply, or ctx's error. After an
// error q is still in use by the batcher and must not be used again.
func (b *batcher) submit(ctx context.Context, q *question) error {
	if b.separate {
		b.ask(ctx, q.alone[:])
		return nil
	}
	q.until, _ = ctx.Deadline()
	b.mu.Lock()
	b.waiting = append(b.waiting, q)
	others, begin := b.active > 0, b.active < maxTrips
	if begin {
		b.active++
	}
	b.mu.Unlock()
	if begin {
		if others {
			runtime.Gosched() // lets goroutines that are about to submit join this round trip
		}
		next := b.next()
		if len(next) == 1 && next[0] == q {
			defer b.release()
			b.ask(ctx, next)
			return nil
		}
		if next != nil {
			go b.flushAll(next)
		}
	}
	select {
	case <-q.answered:
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		q.gone = true
		b.mu.Unlock()
		return ctx.Err()
	}
}

// release ends a round trip, or starts another one if questions are waiting.
func (b *batcher) release() {
	if next := b.next(); next != nil {
		go b.flushAll(next)
	}
}

func (b *batcher) flushAll(next []*question) {
	for ; next != nil; next = b.next() {
		b.flush(next)
	}
}

// next returns the questions of the next round trip. If there are none it returns nil, and the
// caller's round trip counts as ended.
func (b *batcher) next() []*question {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 1 && !b.waiting[0].gone { // the usual case, without allocating
		next := b.waiting[0].alone[:]
		b.waiting = b.waiting[:0]
		return next
	}
	var next []*question
	for i, q := range b.waiting {
		if len(next) == maxShared {
			b.waiting = b.waiting[i:]
			return next
		}
		if !q.gone {
			next = append(next, q)
		}
	}
	b.waiting = b.waiting[:0]
	if next == nil {
		b.active--
	}
	return next
}

// flush sends several questions in one round trip, bounded by the latest of their deadlines, so
// that none fails because of another's shorter deadline; submit returns at each question's own. A
// panic becomes the error of the look-ups.
func (b *batcher) flush(together []*question) {
	defer func() {
		r := recover()
		for _, q := range together {
			if r != nil {
				q.reply = reply{err: fmt.Errorf("look-up panicked: %v", r)}
			}
			q.answered <- struct{}{} // never blocks: it is buffered, and there is one answer
		}
	}()
	ctx := context.Background() // does not belong to a single request
	if until, bounded := last(together); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	b.ask(ctx, together)
}

// last returns the latest deadline; false if a question has none.
func last(together []*question) (until time.Time, bounded bool) {
	for _, q := range together {
		if q.until.IsZero() {
			return time.Time{}, false
		}
		if q.until.After(until) {
			until = q.until
		}
	}
	return until, true
}
