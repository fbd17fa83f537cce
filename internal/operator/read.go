package operator

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A Reader lists blocks and looks them up.
type Reader struct {
	Blocks store.Blocks
	Scopes Scopes
}

// A Selection says which blocks are listed; what is empty leaves nothing out.
type Selection struct {
	ScopeType string
	Rule      string
	Limit     int // most blocks; 0: all
}

// A Listing is a list of active blocks, permanent ones first, then by scope.
type Listing struct {
	Blocks []checker.Block
	More   bool // there are more than the limit
	// Partial says why permanent blocks are unknown, but for those that Redis has a copy of; nil if
	// the list is complete.
	Partial error
}

// List returns the selected active blocks.
func (r Reader) List(ctx context.Context, s Selection) (Listing, error) {
	ask := 0 // all
	if s.ScopeType == "" && s.Rule == "" && s.Limit > 0 {
		ask = s.Limit + 1 // one more says that there are more
	}
	var l Listing
	blocks, err := r.Blocks.List(ctx, ask)
	if errors.Is(err, store.ErrPartial) {
		l.Partial, err = err, nil
	}
	if err != nil {
		return Listing{}, err
	}
	l.Blocks = slices.DeleteFunc(blocks, func(b checker.Block) bool {
		return s.ScopeType != "" && b.Scope.Type != s.ScopeType || s.Rule != "" && b.Rule != s.Rule
	})
	if l.More = s.Limit > 0 && len(l.Blocks) > s.Limit; l.More {
		l.Blocks = l.Blocks[:s.Limit]
	}
	return l, nil
}

// LookUp returns the blocks that deny a canonical scope: its own, and those of the ranges that an
// address is in, narrowest first. If there is none, a type that cannot be blocked is an error.
func (r Reader) LookUp(ctx context.Context, scope checker.Scope) ([]checker.Block, error) {
	scopes := append([]checker.Scope{scope}, rangesAround(scope)...)
	found, err := r.Blocks.Lookup(ctx, scopes)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && !r.Scopes.known(scope.Type) {
		return nil, r.Scopes.unknown(scope.Type)
	}
	slices.SortStableFunc(found, func(a, b checker.Block) int {
		return slices.Index(scopes, a.Scope) - slices.Index(scopes, b.Scope)
	})
	return found, nil
}

// rangesAround returns every range that an ip scope is in, narrowest first.
func rangesAround(scope checker.Scope) []checker.Scope {
	if scope.Type != checker.ScopeIP {
		return nil
	}
	p, ok := rangeOf(scope)
	if !ok {
		addr, err := netip.ParseAddr(scope.Value)
		if err != nil {
			return nil
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	var around []checker.Scope
	for bits := p.Bits() - 1; bits > 0; bits-- {
		wider, _ := checker.RangeScope(netip.PrefixFrom(p.Addr(), bits))
		around = append(around, wider)
	}
	return around
}
