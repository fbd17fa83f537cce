package store

import (
	"cmp"
	"slices"

	"github.com/wardstream/wardstream/pkg/checker"
)

// First returns the blocks of the first limit scopes (0: of all) in the order
// in which List returns them, of several on one scope the strongest,
// or the first of the strongest. It reorders blocks.
func First(blocks []checker.Block, limit int) []checker.Block {
	slices.SortStableFunc(blocks, func(a, b checker.Block) int {
		return cmp.Or(cmp.Compare(a.Scope.Type, b.Scope.Type), cmp.Compare(a.Scope.Value, b.Scope.Value), strongest(a, b))
	})
	blocks = slices.CompactFunc(blocks, func(a, b checker.Block) bool { return a.Scope == b.Scope })
	slices.SortStableFunc(blocks, func(a, b checker.Block) int {
		return cmp.Compare(boolInt(b.Permanent()), boolInt(a.Permanent()))
	})
	if limit > 0 && len(blocks) > limit {
		blocks = blocks[:limit]
	}
	return blocks
}

func strongest(a, b checker.Block) int { return boolInt(b.Stronger(a)) - boolInt(a.Stronger(b)) }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
