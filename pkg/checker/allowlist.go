package checker

import (
	"fmt"
	"net/netip"
	"strings"
)

// An Allowlist holds addresses, ranges of addresses and scopes such as user:1 that are never
// denied. It is immutable; a nil Allowlist is empty.
//
// An entry overrides only blocks of what it names: an allowlisted address passes blocks of that
// address and of ranges that contain it, but a blocked user stays blocked even from that address.
type Allowlist struct {
	ranges []netip.Prefix
	scopes map[Scope]bool
}

// ParseAllowlist reads entries in the form of the detector's configuration: "10.0.0.0/8",
// "203.0.113.9", "user:1". Its error quotes the first malformed entry.
func ParseAllowlist(entries []string) (*Allowlist, error) {
	list := &Allowlist{scopes: map[Scope]bool{}}
	for _, entry := range entries {
		text := strings.TrimPrefix(strings.TrimSpace(entry), ScopeIP+":")
		if prefix, err := parsePrefix(text); err == nil {
			list.ranges = append(list.ranges, prefix)
			continue
		}
		if addr, ok := ParseAddr(text); ok {
			list.ranges = append(list.ranges, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		typ, value, ok := strings.Cut(text, ":")
		scope, valid := NewScope(typ, value)
		if !ok || !valid || strings.ContainsAny(typ, " /.") {
			return nil, fmt.Errorf("parse allowlist: %q is neither an address, a range like 10.0.0.0/8, nor a scope like user:1", entry)
		}
		list.scopes[scope] = true
	}
	return list, nil
}

// Exempts reports whether the allowlist lets the subject s pass the block b. [Checker] calls it for
// blocks that were found, so it costs clean requests nothing.
func (l *Allowlist) Exempts(s *Subject, b *Block) bool {
	if l == nil {
		return false
	}
	if b.Scope.Type != ScopeIP {
		return l.scopes[b.Scope]
	}
	addr := s.IP.Unmap().WithZone("")
	if !addr.IsValid() {
		addr, _ = b.Scope.addr()
	}
	for _, p := range l.ranges {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
