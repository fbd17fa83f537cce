package operator

import (
	"net/netip"
	"slices"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A Risk is why an operator should confirm a block before it is made.
type Risk int

// The risks.
const (
	NoRisk        Risk = iota
	WideRange          // a range of more addresses than one provider or customer has
	Allowlisted        // rules never block it
	SharedAddress      // a permanent block of an ip also denies its later users
)

// Risk returns the first risk of a block of the scope, which must be canonical.
func (s Scopes) Risk(scope checker.Scope, permanent bool) Risk {
	p, isRange := rangeOf(scope)
	switch {
	case isRange && isWide(p):
		return WideRange
	case s.Allowlist.Holds(scope, &event.Event{}):
		return Allowlisted
	case scope.Type == checker.ScopeIP && permanent:
		return SharedAddress
	}
	return NoRisk
}

// NotLookedUp returns the length of the prefix, in bits, of a range that checkers do not look up by
// default; false for every other scope.
func (s Scopes) NotLookedUp(scope checker.Scope) (bits int, ok bool) {
	p, isRange := rangeOf(scope)
	switch {
	case !isRange:
		return 0, false
	case p.Addr().Is4():
		return p.Bits(), !slices.Contains(checker.DefaultRanges4(), p.Bits())
	default:
		return p.Bits(), p.Bits() != s.IPv6Prefix && !slices.Contains(checker.DefaultRanges6(), p.Bits())
	}
}

// rangeOf returns the range that an ip scope is; false if it is one address.
func rangeOf(scope checker.Scope) (netip.Prefix, bool) {
	if scope.Type != checker.ScopeIP {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(scope.Value)
	return p, err == nil
}

// The shortest prefixes of ranges that are not wide: what one provider or customer has.
const (
	wide4 = 16
	wide6 = 32
)

func isWide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < wide4
	}
	return p.Bits() < wide6
}
