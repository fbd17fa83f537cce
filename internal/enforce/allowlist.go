package enforce

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An Allowlist holds addresses, ranges of addresses and scopes that are never blocked. It is
// immutable; a nil Allowlist is empty.
type Allowlist struct {
	ranges bart.Lite
	scopes map[checker.Scope]bool
}

// NewAllowlist parses entries such as "10.0.0.0/8", "203.0.113.9" and "user:1". An error concerns
// entries[at].
func NewAllowlist(entries []string) (list *Allowlist, at int, err error) {
	list = &Allowlist{scopes: map[checker.Scope]bool{}}
	for i, entry := range entries {
		if err := list.add(strings.TrimSpace(entry)); err != nil {
			return nil, i, err
		}
	}
	return list, 0, nil
}

func (l *Allowlist) add(entry string) error {
	if prefix, err := netip.ParsePrefix(entry); err == nil {
		l.ranges.Insert(unmapped(prefix))
		return nil
	}
	if addr, ok := checker.ParseAddr(entry); ok {
		l.ranges.Insert(netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	typ, value, ok := strings.Cut(entry, ":")
	if typ == checker.ScopeIP {
		return l.add(value)
	}
	scope, valid := checker.NewScope(typ, value)
	if !ok || !valid || strings.ContainsAny(typ, " /.") {
		return fmt.Errorf("%q is neither an address, a range like 10.0.0.0/8, nor a scope like user:1", entry)
	}
	l.scopes[scope] = true
	return nil
}

// unmapped returns the IPv4 range of an IPv4-mapped IPv6 range.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}

// Holds reports whether scope is allowlisted. If an ip scope is a range, it is enough that the
// event's own address or any part of the range is allowlisted.
func (l *Allowlist) Holds(scope checker.Scope, e *event.Event) bool {
	if l == nil {
		return false
	}
	if l.scopes[scope] {
		return true
	}
	if scope.Type != checker.ScopeIP {
		return false
	}
	if !strings.Contains(scope.Value, "/") { // nearly always a single address: the fast path
		addr, ok := checker.ParseAddr(scope.Value)
		return ok && l.ranges.Contains(addr)
	}
	prefix, err := netip.ParsePrefix(scope.Value)
	if err != nil {
		return false
	}
	addr, ok := checker.ParseAddr(e.Text("source.address"))
	return l.ranges.OverlapsPrefix(prefix) || ok && l.ranges.Contains(addr)
}
