package enforce

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An Allowlist names what is never blocked: addresses, ranges of addresses,
// and scopes by value. It is immutable; a nil one is empty.
type Allowlist struct {
	ranges bart.Lite
	scopes map[checker.Scope]bool
}

// NewAllowlist reads entries such as "10.0.0.0/8", "203.0.113.9" and "user:1".
// An error is about entries[at].
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

// unmapped is the IPv4 range that an IPv4-mapped IPv6 range stands for.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}

// Holds reports whether scope is allowlisted. Where one ip scope stands for a
// whole range, the event's own address being allowlisted is enough, and so is
// any part of the range.
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
	if !strings.Contains(scope.Value, "/") { // a single address, as nearly always: parsing it as a range costs an error
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
