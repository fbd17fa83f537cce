package store

import (
	"cmp"
	"slices"

	"github.com/wardstream/wardstream/pkg/checker"
)

// First sorts blocks in the order of List and returns those of the first limit scopes (0: all). Of
// several blocks of one scope it keeps the strongest, the first if some are equal.
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
