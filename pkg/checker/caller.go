package checker

import (
	"context"
	"fmt"
	"time"
)

// maxDetached bounds the look-ups that run on goroutines of their own, so that a Lookup that never
// returns cannot leak an unbounded number of them.
const maxDetached = 1024

// ErrBusy is returned for a look-up that was not started because 1024 look-ups that ignored their
// deadlines are still running.
var ErrBusy = NewError("busy", "too many look-ups are stuck")

// A caller calls a Lookup and returns by the deadline, whatever the Lookup does.
type caller struct {
	lookup    Lookup
	known     func(scopes []Scope) []Block // blocks known without asking the store; nil: none
	slots     chan struct{}                // nil: the Lookup honours deadlines and is called directly
	deadlines deadlines
	breaker   breaker
	now       func() time.Time // measures waiting; not the clock by which blocks expire
}

func newCaller(lookup Lookup, timeout time.Duration) *caller {
	c := &caller{lookup: lookup, deadlines: deadlines{timeout: timeout}, now: time.Now}
	if l, ok := lookup.(interface{ HonoursDeadline() bool }); !ok || !l.HonoursDeadline() {
		c.slots = make(chan struct{}, maxDetached)
	}
	if l, ok := lookup.(interface{ Known(scopes []Scope) []Block }); ok {
		c.known = l.Known
	}
	return c
}

// within looks scopes up. It returns when that is done or the timeout has passed.
func (c *caller) within(ctx context.Context, scopes []Scope) ([]Block, error) {
	blocks, err := c.try(ctx, scopes)
	if err != nil {
		return blocks, fmt.Errorf("look scopes up: %w", err)
	}
	return blocks, nil
}

func (c *caller) try(ctx context.Context, scopes []Scope) (blocks []Block, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	begin := c.now()
	if !c.breaker.admit(begin) {
		if c.known != nil {
			blocks = c.known(scopes)
		}
		return blocks, ErrStalled
	}
	end := c.deadlines.after(begin)
	if own, ok := ctx.Deadline(); ok && own.Before(end.at) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), own)
		defer cancel()
	} else {
		ctx = bounded{ctx, end}
	}
	if c.slots == nil {
		blocks, err = c.direct(ctx, scopes)
	} else {
		blocks, err = c.detached(ctx, scopes)
	}
	// Only the checker's own timeout says something about the store: a caller's shorter
	// deadline does not count.
	now := c.now()
	c.breaker.learn(now, err != nil && !now.Before(end.at))
	return blocks, err
}

// direct calls the Lookup on this goroutine. A panic becomes the look-up's error.
func (c *caller) direct(ctx context.Context, scopes []Scope) (blocks []Block, err error) {
	defer func() {
		if r := recover(); r != nil {
			blocks, err = nil, fmt.Errorf("look-up panicked: %v", r)
		}
	}()
	return c.lookup.Lookup(ctx, scopes)
}

type answer struct {
	blocks []Block
	err    error
}

// detached calls the Lookup on a goroutine of its own and abandons it at the deadline. The
// goroutine frees its slot when the Lookup returns.
func (c *caller) detached(ctx context.Context, scopes []Scope) ([]Block, error) {
	select {
	case c.slots <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	done := make(chan answer, 1)
	go func() {
		defer func() { <-c.slots }()
		blocks, err := c.direct(ctx, scopes)
		done <- answer{blocks, err}
	}()
	select {
	case a := <-done:
		return a.blocks, a.err
	case <-ctx.Done():
	}
	select {
	case a := <-done: // the answer and the deadline came at the same time: the answer counts
		return a.blocks, a.err
	default:
		return nil, ctx.Err()
	}
}
