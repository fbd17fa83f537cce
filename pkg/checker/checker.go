// Package checker answers one question at ingress: is this client blocked?
//
// It owns Wardstream's public vocabulary (Scope, Block, Subject, Decision) and
// the one-method Lookup interface; implementations over Redis and Postgres are
// in packages of their own, so importing the checker links neither.
//
// A [Checker] asks its Lookup once for all scopes of a request and lets the
// strongest block by precedence answer. Where the Lookup fails, the fail mode
// of the request's path decides: open by default, closed where [WithFailClosed] says so.
package checker

import (
	"context"
	"path"
	"regexp"
	"slices"
	"time"
)

// A Lookup finds the active blocks among scopes. It returns one Block for each
// blocked scope, in any order, and must be safe for concurrent use. Blocks that it returns
// along with an error are enforced; the error stands for the rest.
//
// A Lookup that returns by its context's deadline, whatever its store does,
// should say so by a method HonoursDeadline() bool: [Checker.Check] then calls it directly.
// Any other is called on a goroutine of its own, which costs some microseconds.
//
// A Lookup that knows blocks without asking its store may say so by a method Known(scopes []Scope) []Block: they are
// enforced while the store has stalled and is spared.
type Lookup interface {
	Lookup(ctx context.Context, scopes []Scope) ([]Block, error)
}

// A Checker decides about requests. Make one with [New]; the zero Checker is not
// usable. It is safe for concurrent use.
type Checker struct {
	call       *caller
	clean      func(Subject) bool // nil: there is no telling without asking
	plan       plan
	timeout    time.Duration
	failClosed []*regexp.Regexp
	denial     denial
	exempt     func(s *Subject, b *Block) bool // nil: nobody is
	hooks      hooks
	now        func() time.Time
}

// New returns a Checker that asks lookup. It panics if lookup is nil: a checker
// that can't look allows everything.
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

// Check decides about s, with one call of the Lookup for all its scopes. It
// returns within the timeout, whatever the Lookup does; a Subject without
// any scope is allowed at once. The values of ctx reach the Lookup, and so does its deadline, but not
// its cancellation: a client that hangs up must not cost the store a connection.
func (c *Checker) Check(ctx context.Context, s Subject) Decision {
	start := c.started()
	if c.clean != nil && c.clean(s) {
		return c.tell(ctx, s, Decision{}, start)
	}
	scopes := c.plan.scopes(&s)
	if len(scopes) == 0 {
		return c.tell(ctx, s, Decision{}, start)
	}
	blocks, err := c.call.within(ctx, scopes)
	return c.tell(ctx, s, c.decide(s, scopes, blocks, err), start)
}

// Fail decides about a request whose subject could not be made out, for the
// reason err: the fail mode of s.Path answers, as it does for a failed look-up.
func (c *Checker) Fail(ctx context.Context, s Subject, err error) Decision {
	return c.tell(ctx, s, c.decide(s, nil, nil, err), c.started())
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

// strongest returns the active block whose scope comes first in scopes; of
// several on one scope, the one that outlasts the others.
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

// rankOf returns where a blocked scope stands among those of the request, -1 if it isn't theirs. A range
// stands with the narrowest of the scopes that it holds, however it was found.
func rankOf(blocked Scope, scopes []Scope) int {
	if at := slices.Index(scopes, blocked); at >= 0 || blocked.Type != ScopeIP {
		return at
	}
	return slices.IndexFunc(scopes, func(s Scope) bool {
		addr, ok := s.addr()
		return ok && blocked.holds(addr)
	})
}

// closedAt reports whether requests on the path p are denied when the look-up fails.
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
