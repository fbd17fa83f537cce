package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/resp"
)

// maxClaimPages is how many pages of the pending list a claimer looks at before it
// rests; Redis looks at ten entries for each that may be claimed, 0.1 ms a page of 512.
const maxClaimPages = 64

// A claimer takes over entries that other consumers have left untouched. Between pages the loop
// reads.
type claimer struct {
	*member
	page     *pageSize
	minIdle  time.Duration // how long an entry must have been left untouched
	maxReply int           // bytes

	from  string // where the next page of the pending list starts
	pages int    // looked at since the last rest
	due   time.Time
}

func newClaimer(o *Options, m *member, page *pageSize) *claimer {
	c := &claimer{member: m, page: page, minIdle: o.ClaimMinIdle, maxReply: o.replyBytes, from: firstID}
	c.rest()
	return c
}

// rest has the next claims made after a while.
func (c *claimer) rest() {
	c.pages = 0
	c.due = c.now().Add(jitter(c.minIdle / 3))
}

// next claims what is in the next page.
func (c *claimer) next(ctx context.Context) (resp.Claimed, error) {
	claimed, err := c.claim(ctx)
	if err != nil {
		return resp.Claimed{}, fmt.Errorf("claim entries: %w", err)
	}
	c.from = claimed.Cursor
	if c.pages++; c.from == firstID || c.pages >= maxClaimPages {
		c.rest()
	}
	return claimed, nil
}

func (c *claimer) claim(ctx context.Context) (resp.Claimed, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	raw, err := resp.Fetch(ctx, c.clients.Ops, c.stream, c.maxReply,
		"XAUTOCLAIM", c.stream, c.group, c.name, c.minIdle.Milliseconds(), c.from, "COUNT", c.page.entries)
	if errors.Is(err, resp.ErrTooLarge) { // what is too large to be read is ours nevertheless, and recovered
		c.page.shrink()
	}
	if err != nil {
		return resp.Claimed{}, err
	}
	return resp.AutoClaim(raw)
}
