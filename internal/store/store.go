// Package store defines the interface of block stores and the rules that they share. Each backend
// is a package of its own, and all pass one conformance suite (storetest).
package store

import (
	"context"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// A Put is a request to block a scope.
type Put struct {
	Block checker.Block
	// EvidenceTime is the time of the event that led to the block, or of the first of several
	// events that led to it together. If an operator unblocked the scope at or after that time, the
	// Put has no effect, so that only new events can block the scope again. Zero means that an
	// operator asks for the block: it always takes effect, and removes the tombstone of an earlier
	// unblock.
	EvidenceTime time.Time
}

// An Outcome is the result of a Put.
type Outcome uint8

const (
	// Kept: a block that is at least as strong already exists.
	Kept Outcome = iota
	// Began: the scope was not blocked before, or this same Put (same Block.ID) created the block
	// earlier, as at a redelivery.
	Began
	// BecamePermanent: a temporary block was replaced by a permanent one, now or by this same Put
	// earlier.
	BecamePermanent
	// Extended: a temporary block now ends later. It keeps its ID.
	Extended
	// Lapsed: the block had already expired; nothing was written.
	Lapsed
	// Unblocked: an operator unblocked the scope at or after EvidenceTime; nothing was written.
	Unblocked
)

// A Result is the result of one Put. If Err is set the Put is not durable yet and must be retried.
// In a tiered store the block may be in effect all the same.
type Result struct {
	Outcome Outcome
	// Block is the block in effect afterwards, as far as the store knows.
	Block checker.Block
	Err   error
}

// A Revocation is an operator's unblock.
type Revocation struct {
	Scope  checker.Scope
	By     string
	Reason string
	At     time.Time // not in the future; zero means now
	// Now is the current time by the clock that dates events, if that clock is known to be ahead of
	// the store's.
	Now time.Time
}

// After returns the earliest evidence time that a tombstone allows; any newer tombstone rejects it.
func After(tombstone time.Time) time.Time {
	if tombstone.IsZero() {
		return time.UnixMilli(1)
	}
	return tombstone.Add(time.Millisecond)
}

// Blocks stores blocks. Implementations are safe for concurrent use. Every method may be retried
// after an error.
type Blocks interface {
	checker.Lookup
	// Put writes blocks, in order, and returns one Result for each. It returns an error if the
	// result of none of them is known.
	Put(ctx context.Context, puts []Put) ([]Result, error)
	// Unblock removes every block of the scope and leaves a tombstone, so that events from before
	// r.At do not block it again. It returns the removed blocks.
	Unblock(ctx context.Context, r Revocation) ([]checker.Block, error)
	// List returns active blocks of at most limit scopes (0: all), permanent ones first,
	// then by scope.
	List(ctx context.Context, limit int) ([]checker.Block, error)
}
