// Package tiered stores temporary blocks in Redis, and permanent ones in Postgres with a copy in
// Redis. Postgres commits first and Redis second; a Reconciler repairs differences left by a crash
// or made by other software.
package tiered

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Options configure Blocks; zero values mean the defaults.
type Options struct {
	// TemporaryToo stores temporary blocks in the durable tier as well, for services that can reach
	// only that.
	TemporaryToo bool
	// Now is the clock for expiry; time.Now.
	Now func() time.Time
}

// Blocks is a [store.Blocks] over the two tiers. If the durable tier fails, a permanent block takes
// effect through Redis at once and its Result has an Err, since it is not durable yet. If Redis
// fails the methods return an error.
type Blocks struct {
	cache   store.Cache
	durable store.Durable // nil: there is none
	lookup  checker.Lookup
	both    bool
	now     func() time.Time
}

// New returns Blocks over cache and durable. If durable is nil, permanent blocks are in Redis only
// and expire unless a match renews them.
func New(cache store.Cache, durable store.Durable, o Options) *Blocks {
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Blocks{cache: cache, durable: durable, lookup: cache, both: o.TemporaryToo && durable != nil, now: o.Now}
	if durable != nil {
		b.lookup = cache.LookupWith(durable)
	}
	return b
}

// Lookup implements [checker.Lookup] with one round trip to Redis. It queries the durable tier only
// while Redis has no complete copy of it.
func (b *Blocks) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	blocks, err := b.lookup.Lookup(ctx, scopes)
	if err != nil {
		return blocks, fmt.Errorf("look blocks up: %w", err)
	}
	return blocks, nil
}

// Unblock implements [store.Blocks]. It tries both tiers even if one fails. An error means that a
// tier may still hold the block and that Unblock must be retried.
//
// The durable tier is first, so that no process reads the block there afterwards and copies it to
// Redis again; a process that read it before is stopped by the tombstone and by the membership
// hash's generation. A later match may have blocked the scope again in the durable tier, and in
// Redis before Redis was cleared, so the two are compared at the end.
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

// contains reports whether c is a copy of one of blocks. A scope has at most one block of each
// kind.
func contains(blocks []checker.Block, c checker.Block) bool {
	for _, b := range blocks {
		if b.Permanent() == c.Permanent() {
			return true
		}
	}
	return false
}

// List implements [store.Blocks]. If the durable tier fails it returns the blocks in Redis along
// with [store.ErrPartial].
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
