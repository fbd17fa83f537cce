package detectorcli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/internal/spelling"
	"github.com/wardstream/wardstream/pkg/checker"
)

// maxScopeValue bounds what an operator can block, in bytes: attributes that are longer
// are cut before they make a scope.
const maxScopeValue = 4096

var errText = errors.New("must be text, without control characters, of up to 4096 bytes")

// blockableScope is the scope that an operator wants to block, canonical.
func blockableScope(cfg *config.Config, typ, value string) (checker.Scope, error) {
	if !slices.Contains(cfg.Policy.Blockable, typ) {
		return checker.Scope{}, noType(cfg, typ)
	}
	scope, err := scopeOf(cfg, typ, value)
	if err != nil {
		return scope, err
	}
	if p, ok := rangeOf(scope); ok && p.Addr().Is6() && p.Bits() > cfg.IPv6Prefix {
		return scope, fmt.Errorf("ip %q: would block no client, as ingress asks for /%d (ipv6_prefix); name an address in it", value, cfg.IPv6Prefix)
	}
	return scope, nil
}

// rangeOf returns the range that an ip scope is; false if it is one address.
func rangeOf(scope checker.Scope) (netip.Prefix, bool) {
	if scope.Type != checker.ScopeIP {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(scope.Value)
	return p, err == nil
}

// The shortest ranges that are blocked without being asked twice: what one provider or customer has.
const (
	wide4 = 16
	wide6 = 32
)

// isWide reports whether a range has more addresses than anyone blocks without a second look.
func isWide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < wide4
	}
	return p.Bits() < wide6
}

// unseen reports whether a range is of a length that checkers do not look up by default.
func unseen(p netip.Prefix, ipv6Prefix int) bool {
	if p.Addr().Is4() {
		return !slices.Contains(checker.DefaultRanges4(), p.Bits())
	}
	return p.Bits() != ipv6Prefix && !slices.Contains(checker.DefaultRanges6(), p.Bits())
}

// scopeOf is the scope of a type and a value as typed, canonical.
func scopeOf(cfg *config.Config, typ, value string) (checker.Scope, error) {
	if len(value) > maxScopeValue || !utf8.ValidString(value) || strings.ContainsFunc(value, isControl) {
		return checker.Scope{}, fmt.Errorf("value of %s: %w", typ, errText)
	}
	scope, ok := operator.Canonical(checker.Scope{Type: typ, Value: value}, cfg.IPv6Prefix)
	switch {
	case ok:
		return scope, nil
	case typ == checker.ScopeIP:
		return scope, fmt.Errorf("ip %q: is neither an address nor a range; write 203.0.113.9, 2001:db8::1 or 203.0.113.0/24", value)
	default:
		return scope, fmt.Errorf("value of %s: is empty", typ)
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func noType(cfg *config.Config, typ string) error {
	known := strings.Join(cfg.Policy.Blockable, ", ")
	if typ == checker.ScopeRoute {
		return fmt.Errorf("%q: routes are counted, never blocked; use one of %s", typ, known)
	}
	return fmt.Errorf("%q is not a scope that can be blocked; use one of %s, or list it in scopes with block: true%s",
		cli.Clip(typ), known, spelling.Suggestion(typ, cfg.Policy.Blockable))
}

// knownScope refuses a scope of a type that the configuration doesn't know, unless
// it is blocked: under another configuration, that is.
func knownScope(ctx context.Context, cfg *config.Config, s *backends.Stores, scope checker.Scope) error {
	if slices.Contains(cfg.Policy.Blockable, scope.Type) {
		return nil
	}
	blocks, err := lookUp(ctx, s, scope)
	if err == nil && len(blocks) == 0 {
		err = noType(cfg, scope.Type)
	}
	return err
}

// lookUp returns the blocks that deny a scope: its own, and those of the ranges that an address is in, narrowest first.
func lookUp(ctx context.Context, s *backends.Stores, scope checker.Scope) ([]checker.Block, error) {
	scopes := append([]checker.Scope{scope}, rangesAround(scope)...)
	found, err := s.Blocks.Lookup(ctx, scopes)
	if err != nil {
		return nil, err
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

// allowlisted reports whether the allowlist keeps rules from blocking the scope.
func allowlisted(cfg *config.Config, scope checker.Scope) bool {
	return cfg.Policy.Allowlist.Holds(scope, &event.Event{})
}
