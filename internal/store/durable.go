package store

import (
	"context"

	"github.com/wardstream/wardstream/pkg/checker"
)

// Durable is the authoritative tier of permanent blocks: Postgres, or memory in the demo. It may
// also have a method
//
//	Changed(ctx context.Context, since time.Time, limit int) ([]checker.Scope, error)
//
// that returns recently changed scopes, so that changes of other software are followed at once.
// storetest.Durable is what an implementation has to pass, besides storetest.Blocks.
type Durable interface {
	Blocks
	// Each calls fn for every active block of a consistent snapshot.
	Each(ctx context.Context, fn func(checker.Block) error) error
	// Lift removes the tombstones of scopes.
	Lift(ctx context.Context, scopes []checker.Scope) error
}
