package redislookup

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxFlights is how many round trips are under way at most. Look-ups that come while
	// all are gather and share the next. Two halve the wait for it; more make the shared ones
	// smaller, which costs more than it saves (measured with 1, 2, 4 and 8).
	maxFlights = 2
	// maxShared bounds the look-ups of one trip, so that its MGET doesn't hold the server up.
	maxShared = 128
)

// flights sends questions to Redis: each at once and by itself while there are few, and many in one
// round trip while there are many, which costs both ends a fraction. No question waits
// for others to come.
type flights struct {
	ask     func(context.Context, []*question) // fills in their replies
	apart   bool                               // each question goes by itself
	mu      sync.Mutex
	flying  int
	waiting []*question
}

// fly asks q, alone or with others, and returns once q has its reply, or ctx's error. After that error
// q still belongs to others and must not be used again.
func (f *flights) fly(ctx context.Context, q *question) error {
	if f.apart {
		f.ask(ctx, q.alone[:])
		return nil
	}
	q.until, _ = ctx.Deadline()
	f.mu.Lock()
	f.waiting = append(f.waiting, q)
	others, begin := f.flying > 0, f.flying < maxFlights
	if begin {
		f.flying++
	}
	f.mu.Unlock()
	if begin {
		if others {
			runtime.Gosched() // who is ready to ask as well comes along
		}
		next := f.next()
		if len(next) == 1 && next[0] == q {
			defer f.land()
			f.ask(ctx, next)
			return nil
		}
		if next != nil {
			go f.flyOn(next)
		}
	}
	select {
	case <-q.answered:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		q.gone = true
		f.mu.Unlock()
		return ctx.Err()
	}
}

// land ends a flight, or makes it another for those who wait.
func (f *flights) land() {
	if next := f.next(); next != nil {
		go f.flyOn(next)
	}
}

func (f *flights) flyOn(next []*question) {
	for ; next != nil; next = f.next() {
		f.share(next)
	}
}

// next returns who flies together now; without anybody the flight is over.
func (f *flights) next() []*question {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 1 && !f.waiting[0].gone { // the usual case, without allocating
		next := f.waiting[0].alone[:]
		f.waiting = f.waiting[:0]
		return next
	}
	var next []*question
	for i, q := range f.waiting {
		if len(next) == maxShared {
			f.waiting = f.waiting[i:]
			return next
		}
		if !q.gone {
			next = append(next, q)
		}
	}
	f.waiting = f.waiting[:0]
	if next == nil {
		f.flying--
	}
	return next
}

// share asks several questions at once, until the last of their deadlines, since none may
// fail for another's sake; nobody waits past their own. A panic is the look-ups' failure,
// not the process's.
func (f *flights) share(together []*question) {
	defer func() {
		r := recover()
		for _, q := range together {
			if r != nil {
				q.reply = reply{err: fmt.Errorf("look-up panicked: %v", r)}
			}
			q.answered <- struct{}{} // has a place: there is one answer
		}
	}()
	ctx := context.Background() // it is no one request's
	if until, bounded := last(together); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	f.ask(ctx, together)
}

// last returns the last of the deadlines; false if one has none.
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
