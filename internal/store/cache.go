package store

import (
	"context"
	"errors"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// A Cache is the tier of blocks that every check asks: Redis. It stores temporary blocks, and
// copies of the blocks that the durable tier has. A copy never stands against a later unblock.
// Methods are safe for concurrent use and may be repeated after an error. storetest.Cache is what
// an implementation has to pass.
type Cache interface {
	Blocks
	Copies
	Membership
}

// Copies are the cache's copies of durable blocks.
type Copies interface {
	// Known returns what the cache knows of scopes: the durable tier's blocks and the tombstones;
	// and permanent blocks that the durable tier may lack, zero for scopes without one.
	Known(ctx context.Context, scopes []checker.Scope) (states []State, undurable []checker.Block, err error)
	// Confirm copies blocks that the durable tier has just committed. One that was unblocked after
	// its evidence is not copied and has the outcome Unblocked.
	Confirm(ctx context.Context, puts []Put) ([]Outcome, error)
	// Refresh copies blocks that the durable tier has, except for scopes unblocked since.
	Refresh(ctx context.Context, blocks []checker.Block) error
	// Sync makes the copies of scopes equal to the durable tier, and returns how many it changed.
	Sync(ctx context.Context, scopes []checker.Scope, active Active) (int, error)
	// Sweep deletes copies that the durable tier no longer has, and returns how many it deleted. It
	// keeps temporary blocks, and permanent ones that the durable tier never had.
	Sweep(ctx context.Context, active Active) (int, error)
}

// Membership is the cache's set of all durable blocks. While it is complete, a scope that is not in
// it has none.
type Membership interface {
	// Members describes the set.
	Members(ctx context.Context) (Members, error)
	// Rebuild replaces the set by the blocks that each yields: a consistent snapshot, taken after
	// each was called. It returns how many they are, and ErrConflict if blocks kept changing; a
	// complete set stays in place then.
	Rebuild(ctx context.Context, each func(context.Context, func(checker.Block) error) error) (int, error)
	// LookupWith returns a look-up that asks cold for durable blocks while the set is not complete.
	LookupWith(cold checker.Lookup) checker.Lookup
	// PermanentTTL returns how long copies last unless they are renewed.
	PermanentTTL() time.Duration
}

// An Active returns the active blocks of scopes in the durable tier, like a [checker.Lookup].
type Active func(context.Context, []checker.Scope) ([]checker.Block, error)

// Members describes a [Membership].
type Members struct {
	Complete bool
	Age      time.Duration // since it was last rebuilt
	Blocks   int
}

// ErrConflict is returned if durable blocks kept changing while the membership was rebuilt.
var ErrConflict = errors.New("membership kept changing during the rebuild")
