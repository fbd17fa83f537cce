// Package tiered keeps temporary blocks in Redis and permanent ones in
// Postgres with a copy in Redis. Postgres commits first, Redis follows, and a Reconciler
// repairs what a crash or other software left between the two.
package tiered

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Durable is the truth about permanent blocks: Postgres, or memory in the demo.
type Durable interface {
	store.Blocks
	// Each calls fn for every active block, all as of one moment.
	Each(ctx context.Context, fn func(checker.Block) error) error
	// Lift takes back the unblocks of scopes.
	Lift(ctx context.Context, scopes []checker.Scope) error
}

// Options change how blocks are kept; the zero value is the usual way.
type Options struct {
	// TemporaryToo keeps temporary blocks in the durable tier as well, for services
	// that reach nothing else.
	TemporaryToo bool
	// Now is the clock by which it is decided what is worth asking; time.Now.
	Now func() time.Time
}

// Blocks is a [store.Blocks] over the two tiers. Where the durable tier fails,
// a permanent block takes effect through Redis at once, and its Result has an Err: it isn't durable
// yet. Where Redis fails nothing can be said, and the methods return an error.
type Blocks struct {
	cache   *redisstore.Blocks
	durable Durable // nil: there is none
	lookup  checker.Lookup
	both    bool
	now     func() time.Time
}

// New returns Blocks over cache and durable. Without a durable tier (nil)
// permanent blocks are Redis's, and end when nothing renews them.
func New(cache *redisstore.Blocks, durable Durable, o Options) *Blocks {
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Blocks{cache: cache, durable: durable, lookup: cache, both: o.TemporaryToo && durable != nil, now: o.Now}
	if durable != nil {
		b.lookup = cache.LookupWith(durable)
	}
	return b
}

// Lookup implements [checker.Lookup]: one round trip to Redis, and a query to
// the durable tier only while Redis doesn't hold a complete copy of it.
func (b *Blocks) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	blocks, err := b.lookup.Lookup(ctx, scopes)
	if err != nil {
		return blocks, fmt.Errorf("look blocks up: %w", err)
	}
	return blocks, nil
}

// Unblock implements [store.Blocks]. Both tiers are tried whatever the other says: an error says
// that one of them may still hold the block, and that Unblock has to be repeated. The durable
// tier goes first, so that nobody reads the block there and writes it to Redis again;
// who read it before is stopped by the mark and by the membership hash's generation. A match later than the unblock may have
// blocked the scope again in the durable tier, and in Redis before that was cleared there: so both are compared in the end.
func (b *Blocks) Unblock(ctx context.Context, r store.Revocation) ([]checker.Block, error) {
	r.At = r.Time(b.now())
	var lifted []checker.Block
	var durableErr error
	if b.durable != nil {
		lifted, durableErr = b.durable.Unblock(ctx, r)
	}
	cached, cacheErr := b.cache.Unblock(ctx, r)
	for _, c := range cached {
		if !contains(lifted, c) {
			lifted = append(lifted, c)
		}
	}
	err := errors.Join(durableErr, cacheErr)
	if err == nil && b.durable != nil {
		_, err = b.cache.Sync(ctx, []checker.Scope{r.Scope}, b.durable.Lookup)
	}
	if err != nil {
		return lifted, fmt.Errorf("unblock in every tier: %w", err)
	}
	return lifted, nil
}

// contains reports whether the copy c is of one of blocks: a scope has one
// block of a kind.
func contains(blocks []checker.Block, c checker.Block) bool {
	for _, b := range blocks {
		if b.Permanent() == c.Permanent() {
			return true
		}
	}
	return false
}

// List implements [store.Blocks]. If the durable tier can't be asked it returns what Redis has, along with
// [store.ErrPartial].
func (b *Blocks) List(ctx context.Context, limit int) ([]checker.Block, error) {
	var all []checker.Block
	var durableErr error
	if b.durable != nil {
		if all, durableErr = b.durable.List(ctx, limit); durableErr != nil {
			durableErr = fmt.Errorf("list blocks: %w: %w", store.ErrPartial, durableErr)
		}
	}
	blocks, err := b.cache.List(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return store.First(append(all, blocks...), limit), durableErr
}
