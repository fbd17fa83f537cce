package checker

import (
	"net/netip"
	"strings"
)

// The built-in scope types. Operators can add their own by name.
const (
	ScopeUser     = "user"     // a stable identity: user.id
	ScopeUsername = "username" // a name as typed by a user; never mixed with ScopeUser
	ScopeSession  = "session"  // session.id
	ScopeIP       = "ip"       // a canonical address, or a prefix of one
	ScopeRoute    = "route"    // counted, never blocked
)

// A Scope is something that can be counted or blocked: a type and a value.
// Scopes are comparable and may be used as map keys.
type Scope struct {
	Type  string
	Value string
}

// String returns "type:value", the form used in Redis keys and in the membership hash.
func (s Scope) String() string { return s.Type + ":" + s.Value }

// NewScope returns the scope of typ with the canonical form of value: without surrounding blanks
// and, for [ScopeIP], parsed by [ParseAddr]. Invalid UTF-8 and NUL bytes are replaced and values
// over 4,096 bytes are cut; a value changed in that way ends in a hash of the original. It returns
// false if typ or value is empty, or the address is invalid.
func NewScope(typ, value string) (Scope, bool) {
	value = strings.TrimSpace(value)
	if typ == "" || value == "" {
		return Scope{}, false
	}
	if typ == ScopeIP {
		addr, ok := ParseAddr(value)
		if !ok {
			return Scope{}, false
		}
		return Scope{Type: typ, Value: addr.String()}, true
	}
	return Scope{Type: typ, Value: scopeValue(value)}, true
}

// IPScope returns the ip scope of addr. The scope of an IPv6 address is its prefix of ipv6Prefix
// bits, such as "2001:db8::/64"; 0 or 128 means the address alone. Detection and ingress must use
// the same ipv6Prefix. For the zero Addr it returns the zero Scope.
func IPScope(addr netip.Addr, ipv6Prefix int) Scope {
	if !addr.IsValid() {
		return Scope{}
	}
	return Scope{Type: ScopeIP, Value: string(appendIPValue(nil, addr.Unmap().WithZone(""), ipv6Prefix))}
}

// appendIPValue appends the value of addr's ip scope. addr must have no zone and not be
// IPv4-mapped.
func appendIPValue(out []byte, addr netip.Addr, ipv6Prefix int) []byte {
	if addr.Is6() && ipv6Prefix > 0 && ipv6Prefix < addr.BitLen() {
		if prefix, err := addr.Prefix(ipv6Prefix); err == nil {
			return prefix.AppendTo(out)
		}
	}
	return addr.AppendTo(out)
}

// RangeScope returns the ip scope of all addresses in p, such as "203.0.113.0/24". The scope of a
// prefix with one address is that address. It returns false for an invalid prefix and for the
// prefix of all addresses. [WithRanges] sets which ranges a [Checker] looks up.
func RangeScope(p netip.Prefix) (Scope, bool) {
	if addr := p.Addr(); addr.Is4In6() && p.Bits() >= mappedBits {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-mappedBits)
	}
	p = p.Masked()
	switch {
	case !p.IsValid() || p.Bits() == 0:
		return Scope{}, false
	case p.IsSingleIP():
		return Scope{Type: ScopeIP, Value: p.Addr().String()}, true
	}
	return Scope{Type: ScopeIP, Value: p.String()}, true
}

// mappedBits is the length of the prefix ::ffff:0:0 of IPv4-mapped addresses.
const mappedBits = 96

// holds reports whether s is a range that contains addr.
func (s Scope) holds(addr netip.Addr) bool {
	if s.Type != ScopeIP || !strings.Contains(s.Value, "/") {
		return false
	}
	p, err := netip.ParsePrefix(s.Value)
	return err == nil && p.Contains(addr)
}

// addr returns the address of an ip scope, or the first one of its range.
func (s Scope) addr() (netip.Addr, bool) {
	if s.Type != ScopeIP {
		return netip.Addr{}, false
	}
	text, _, _ := strings.Cut(s.Value, "/")
	addr, err := netip.ParseAddr(text)
	return addr, err == nil
}

// maxAddrText exceeds the length of any address with port, brackets and zone.
const maxAddrText = 128

// ParseAddr parses a client address as every part of Wardstream does. It removes surrounding
// blanks, a port ("ip:port", "[v6]:port"), brackets and a zone, and unmaps an IPv4-mapped IPv6
// address. It returns false for anything else and never resolves names.
func ParseAddr(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxAddrText {
		return netip.Addr{}, false
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			if addr, err := netip.ParseAddr(inner); err == nil && addr.Is6() {
				return addr.Unmap().WithZone(""), true
			}
		}
	}
	return netip.Addr{}, false
}
