package checker

import (
	"context"
	"time"
)

// A Hook hears of decisions. It runs on the request's goroutine before [Checker.Check]
// returns, so it must be quick, and safe for concurrent use.
type Hook func(context.Context, Subject, Decision)

// hooks are called in the order in which they were given.
type hooks struct {
	blocked, failed []Hook
	decided         []func(context.Context, Subject, Decision, time.Duration)
}

// WithOnBlocked has h hear of every denied request, after the hooks that were given before.
func WithOnBlocked(h Hook) Option {
	return func(c *Checker) { c.hooks.blocked = append(c.hooks.blocked, h) }
}

// WithOnError has h hear of every failed look-up, whatever the fail mode made
// of it. Decision.Err says what failed; [ErrorClass] makes a label of it. Hooks that were
// given before run first.
func WithOnError(h Hook) Option {
	return func(c *Checker) { c.hooks.failed = append(c.hooks.failed, h) }
}

// WithOnDecision has h hear of every decision, those that allow included, and of how long it took. Like
// a [Hook] it runs on the request's goroutine, after all of those. A request whose subject was
// checked in part and then handed to [Checker.Fail] has two decisions.
func WithOnDecision(h func(ctx context.Context, s Subject, d Decision, took time.Duration)) Option {
	return func(c *Checker) { c.hooks.decided = append(c.hooks.decided, h) }
}

// started is when a decision began, if anybody wants to know.
func (c *Checker) started() time.Time {
	if len(c.hooks.decided) == 0 {
		return time.Time{}
	}
	return c.now()
}

// tell calls the hooks and returns d.
func (c *Checker) tell(ctx context.Context, s Subject, d Decision, start time.Time) Decision {
	if d.Err != nil {
		for _, h := range c.hooks.failed {
			h(ctx, s, d)
		}
	}
	if d.Blocked {
		for _, h := range c.hooks.blocked {
			h(ctx, s, d)
		}
	}
	if len(c.hooks.decided) > 0 {
		took := c.now().Sub(start)
		for _, h := range c.hooks.decided {
			h(ctx, s, d, took)
		}
	}
	return d
}
