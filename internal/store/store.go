// Package store says what Wardstream asks of its block stores. Each backend has
// a folder of its own, and all of them pass one conformance suite
// (storetest).
package store

import (
	"context"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// A Put asks for a block.
type Put struct {
	Block checker.Block
	// EvidenceTime is the time of the event that led to the block, or of the first of
	// several that it takes together. A scope that an operator unblocked at or after that time is
	// left alone, so that it takes as much to block it again as it took to block it. Zero means the
	// operator's own wish: it always counts, and it lifts an earlier unblock's mark.
	EvidenceTime time.Time
}

// An Outcome says what a Put came to.
type Outcome uint8

const (
	// Kept: a block at least as strong was there already.
	Kept Outcome = iota
	// Began: the scope was not blocked before; or the block there was begun
	// by this very Put earlier (same Block.ID), as at a redelivery.
	Began
	// BecamePermanent: a temporary block was replaced by a permanent one (or that was done by this
	// very Put earlier).
	BecamePermanent
	// Extended: a temporary block now ends later. It keeps its ID.
	Extended
	// Lapsed: the block's expiry had passed already, nothing was written.
	Lapsed
	// Unblocked: an operator unblocked the scope at or after EvidenceTime; nothing was written.
	Unblocked
)

// A Result is the outcome of one Put. Err is set where that Put is not durable
// yet and must be repeated; with a tiered store the block may be in effect all the same.
type Result struct {
	Outcome Outcome
	// Block is what is in force afterwards, as far as the store knows.
	Block checker.Block
	Err   error
}

// A Revocation is an operator's unblock.
type Revocation struct {
	Scope  checker.Scope
	By     string
	Reason string
	At     time.Time // never in the future; zero is now
	// Now is the present by the clock that events have their times from, as far as it is known to be ahead of the
	// store's.
	Now time.Time
}

// Blocks keeps blocks. Implementations are safe for concurrent use, and every
// method may be repeated after an error.
type Blocks interface {
	checker.Lookup
	// Put writes blocks, in order, and returns one Result for each. The error
	// is set where nothing can be said of any of them.
	Put(ctx context.Context, puts []Put) ([]Result, error)
	// Unblock lifts every block of the scope and leaves a mark, so that events
	// from before r.At don't block it again. It reports what it lifted.
	Unblock(ctx context.Context, r Revocation) ([]checker.Block, error)
	// List returns active blocks of at most limit scopes (0: all), permanent ones first,
	// then by scope.
	List(ctx context.Context, limit int) ([]checker.Block, error)
}
