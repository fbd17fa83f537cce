package checker

import (
	"context"
	"time"
)

// A Hook is called with decisions. It runs on the request's goroutine before [Checker.Check]
// returns, so it must be fast and safe for concurrent use.
type Hook func(context.Context, Subject, Decision)

// hooks are called in the order in which they were added.
type hooks struct {
	blocked, failed []Hook
	decided         []func(context.Context, Subject, Decision, time.Duration)
}

// WithOnBlocked calls h for every denied request, after hooks added earlier.
func WithOnBlocked(h Hook) Option {
	return func(c *Checker) { c.hooks.blocked = append(c.hooks.blocked, h) }
}

// WithOnError calls h for every failed look-up, whatever the fail mode decided. Decision.Err is the
// error, and [ErrorClass] turns it into a metric label. Hooks added earlier run first.
func WithOnError(h Hook) Option {
	return func(c *Checker) { c.hooks.failed = append(c.hooks.failed, h) }
}

// WithOnDecision calls h for every decision, allowed requests included, with the time it took. Like
// a [Hook] it runs on the request's goroutine, after all Hooks. A request that was partly checked
// and then passed to [Checker.Fail] has two decisions.
func WithOnDecision(h func(ctx context.Context, s Subject, d Decision, took time.Duration)) Option {
	return func(c *Checker) { c.hooks.decided = append(c.hooks.decided, h) }
}

// started returns the current time if a hook needs it; reading the clock costs.
func (c *Checker) started() time.Time {
	if len(c.hooks.decided) == 0 {
		return time.Time{}
	}
	return c.now()
}

// notify calls the hooks and returns d.
func (c *Checker) notify(ctx context.Context, s Subject, d Decision, start time.Time) Decision {
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
