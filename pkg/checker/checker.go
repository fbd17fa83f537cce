// Package checker decides whether a client is blocked.
//
// It defines Wardstream's public types (Scope, Block, Subject, Decision) and the one-method
// interface Lookup. Lookups over Redis and Postgres are in packages of their own, so importing
// checker links neither client.
//
// A [Checker] looks up all scopes of a request at once. If several are blocked, the block of the
// scope that comes first in the precedence decides. If the look-up fails, the fail mode of the
// request's path decides: requests are allowed by default and denied on paths given to
// [WithFailClosed].
package checker

import (
	"context"
	"path"
	"regexp"
	"slices"
	"time"
)

// A Lookup finds the active blocks of scopes. It returns one Block for each blocked scope, in any
// order, and must be safe for concurrent use. Blocks returned along with an error are enforced; the
// error then means that other scopes are unknown.
//
// A Lookup may implement further methods:
//
//   - HonoursDeadline() bool returns true if Lookup always returns by its context's deadline.
//     [Checker.Check] then calls it directly. Otherwise each call runs on a goroutine of its own,
//     which costs some microseconds.
//   - Known(scopes []Scope) []Block returns blocks from memory. They are enforced while the store is
//     stalled and not asked.
//   - Clean(s Subject) bool returns true if it is certain, without asking the store, that nothing of s
//     is blocked. Check then allows the request at once.
type Lookup interface {
	Lookup(ctx context.Context, scopes []Scope) ([]Block, error)
}

// A Checker decides about requests. Make one with [New]; the zero Checker is not
// usable. It is safe for concurrent use.
type Checker struct {
	call       *caller
	clean      func(Subject) bool // nil: only a look-up can say
	plan       plan
	timeout    time.Duration
	failClosed []*regexp.Regexp
	denial     denial
	exempt     func(s *Subject, b *Block) bool // nil: no exemptions
	hooks      hooks
	now        func() time.Time
}

// New returns a Checker that asks lookup. It panics if lookup is nil, since such a checker would
// allow everything.
func New(lookup Lookup, opts ...Option) *Checker {
	if lookup == nil {
		panic("checker: New needs a Lookup")
	}
	c := &Checker{
		timeout: DefaultTimeout,
		plan:    plan{order: precedence(nil), ipv6Prefix: 128, ranges4: DefaultRanges4(), ranges6: DefaultRanges6()},
		denial:  denial{status: DefaultStatusCode, message: DefaultMessage}, now: time.Now,
	}
	if l, ok := lookup.(interface{ Clean(s Subject) bool }); ok {
		c.clean = l.Clean
	}
	for _, opt := range opts {
		opt(c)
	}
	c.call = newCaller(lookup, c.timeout)
	return c
}

// Check decides about s, with one call of the Lookup for all its scopes. It returns within the
// timeout, whatever the Lookup does. A Subject without any scope is allowed at once.
//
// The Lookup sees ctx's values and deadline but not its cancellation, because go-redis and pgx
// close the connection of a request that is cancelled.
func (c *Checker) Check(ctx context.Context, s Subject) Decision {
	start := c.started()
	if c.clean != nil && c.clean(s) {
		return c.notify(ctx, s, Decision{}, start)
	}
	scopes := c.plan.scopes(&s)
	if len(scopes) == 0 {
		return c.notify(ctx, s, Decision{}, start)
	}
	blocks, err := c.call.within(ctx, scopes)
	return c.notify(ctx, s, c.decide(s, scopes, blocks, err), start)
}

// Fail decides about a request whose subject could not be determined because of err. The fail mode
// of s.Path decides, as after a failed look-up.
func (c *Checker) Fail(ctx context.Context, s Subject, err error) Decision {
	return c.notify(ctx, s, c.decide(s, nil, nil, err), c.started())
}

func (c *Checker) decide(s Subject, scopes []Scope, blocks []Block, err error) Decision {
	d := Decision{Err: err}
	if err != nil {
		d.FailClosed = c.closedAt(s.Path)
	}
	now := c.now()
	if c.exempt != nil && len(blocks) > 0 {
		blocks = slices.DeleteFunc(slices.Clone(blocks), func(b Block) bool { return c.exempt(&s, &b) })
	}
	if b, ok := strongest(scopes, blocks, now); ok {
		d.deny(b, c.denial, now)
	} else if d.FailClosed {
		d.Blocked, d.StatusCode, d.Message = true, c.denial.status, c.denial.message
	}
	return d
}

// strongest returns the active block whose scope comes first in scopes, and of several on one scope
// the one that lasts longest.
func strongest(scopes []Scope, blocks []Block, now time.Time) (Block, bool) {
	best, rank := -1, len(scopes)
	for i := range blocks {
		at := rankOf(blocks[i].Scope, scopes)
		if at < 0 || at > rank || !blocks[i].ActiveAt(now) {
			continue
		}
		if at < rank || blocks[i].Stronger(blocks[best]) {
			best, rank = i, at
		}
	}
	if best < 0 {
		return Block{}, false
	}
	return blocks[best], true
}

// rankOf returns the index of a blocked scope in the request's scopes, or -1. A blocked range has
// the index of the first scope that it contains.
func rankOf(blocked Scope, scopes []Scope) int {
	if at := slices.Index(scopes, blocked); at >= 0 || blocked.Type != ScopeIP {
		return at
	}
	return slices.IndexFunc(scopes, func(s Scope) bool {
		addr, ok := s.addr()
		return ok && blocked.holds(addr)
	})
}

// closedAt reports whether requests on path p are denied when the look-up fails.
func (c *Checker) closedAt(p string) bool {
	if len(c.failClosed) == 0 {
		return false
	}
	if p == "" {
		return true
	}
	clean := path.Clean("/" + p)
	for _, pattern := range c.failClosed {
		if pattern.MatchString(p) || pattern.MatchString(clean) {
			return true
		}
	}
	return false
}
