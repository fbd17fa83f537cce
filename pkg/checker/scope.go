package checker

import (
	"net/netip"
	"strings"
)

// The scope types every deployment has. Operators add their own by name.
const (
	ScopeUser     = "user"     // a stable identity: user.id
	ScopeUsername = "username" // a name somebody typed; never mixed with ScopeUser
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

// String returns "type:value", the form scopes take in keys and in the
// membership hash.
func (s Scope) String() string { return s.Type + ":" + s.Value }

// NewScope returns the scope of typ with the canonical form of value: trimmed,
// and for [ScopeIP] parsed by [ParseAddr] and written the one canonical way. It
// reports false where that leaves nothing to count or block.
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
		value = addr.String()
	}
	return Scope{Type: typ, Value: value}, true
}

// IPScope returns the ip scope of addr. An IPv6 address stands for its whole
// prefix of ipv6Prefix bits, written "2001:db8::/64"; 0 or 128 means the
// address alone. Detection and ingress must use the same ipv6Prefix. The zero
// Addr has no scope: the result is the zero Scope.
func IPScope(addr netip.Addr, ipv6Prefix int) Scope {
	if !addr.IsValid() {
		return Scope{}
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() && ipv6Prefix > 0 && ipv6Prefix < 128 {
		if p, err := addr.Prefix(ipv6Prefix); err == nil {
			return Scope{Type: ScopeIP, Value: p.String()}
		}
	}
	return Scope{Type: ScopeIP, Value: addr.String()}
}

// maxAddrText is longer than any address with port, brackets and a zone.
const maxAddrText = 128

// ParseAddr reads a client address the way every part of Wardstream does:
// surrounding blanks, a port ("ip:port", "[v6]:port"), brackets and a zone are
// dropped and an IPv4-mapped IPv6 address is unmapped. It reports false for
// anything else; no name is ever resolved.
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
