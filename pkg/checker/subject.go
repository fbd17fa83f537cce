package checker

import (
	"net/netip"
	"slices"
	"strings"
)

// A Subject holds everything about a request that may be blocked. Leave unknown fields zero: they
// are not looked up.
type Subject struct {
	IP       netip.Addr // the client's address; see [TrustedProxies.ClientAddr]
	User     string     // an authenticated identity, user.id
	Username string     // a name as typed by a user, user.name
	Session  string     // session.id
	// Extra holds values of custom scope types, by type. A value of a built-in type is looked up
	// in addition to the field.
	Extra map[string]string
	// Path is the request's path as the application sees it, without the query. It selects the fail
	// mode and nothing else: see [WithFailClosed].
	Path string
}

// defaultPrecedence is the order that decides which of several blocks denies a request. Custom
// types follow, by name.
var defaultPrecedence = [...]string{ScopeUser, ScopeUsername, ScopeSession, ScopeIP}

// precedence returns the default order with the types in first moved to the front.
func precedence(first []string) []string {
	order := make([]string, 0, len(first)+len(defaultPrecedence))
	for _, typ := range slices.Concat(first, defaultPrecedence[:]) {
		if typ != ScopeRoute && !slices.Contains(order, typ) {
			order = append(order, typ)
		}
	}
	return order
}

// A plan derives the scopes of a Subject, in order of precedence.
type plan struct {
	order      []string // scope types, by precedence
	ipv6Prefix int
	ranges4    []int // prefix lengths looked up besides an address, longest first
	ranges6    []int
}

// scopes returns what to look up for s, by precedence, without duplicates.
func (p *plan) scopes(s *Subject) []Scope {
	out := make([]Scope, 0, len(defaultPrecedence)+len(p.ranges4)+len(p.ranges6)+len(s.Extra))
	for _, typ := range p.order {
		out = p.appendField(out, s, typ)
		if len(s.Extra) > 0 {
			out = p.appendExtra(out, typ, s.Extra[typ])
		}
	}
	for _, typ := range p.custom(s) {
		out = p.appendExtra(out, typ, s.Extra[typ])
	}
	return out
}

// appendField adds the scopes of the field of a built-in type.
func (p *plan) appendField(out []Scope, s *Subject, typ string) []Scope {
	var value string
	switch typ {
	case ScopeIP:
		return p.appendIP(out, s.IP)
	case ScopeUser:
		value = s.User
	case ScopeUsername:
		value = s.Username
	case ScopeSession:
		value = s.Session
	}
	if value = strings.TrimSpace(value); value == "" {
		return out
	}
	return append(out, Scope{Type: typ, Value: scopeValue(value)})
}

// maxPrefixText is the length of the longest prefix.
const maxPrefixText = len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")

// appendIP adds addr and the ranges that contain it, narrowest first. All values are substrings of
// one string, to allocate once per request.
func (p *plan) appendIP(out []Scope, addr netip.Addr) []Scope {
	if !addr.IsValid() {
		return out
	}
	addr = addr.Unmap().WithZone("")
	ranges := p.ranges6
	if addr.Is4() {
		ranges = p.ranges4
	}
	var buf [8 * maxPrefixText]byte
	text, ends := appendIPValue(buf[:0], addr, p.ipv6Prefix), [8]int{}
	ends[0] = len(text)
	n := 1
	for _, bits := range ranges {
		if prefix, err := addr.Prefix(bits); err == nil && n < len(ends) && !(addr.Is6() && bits >= p.ipv6Prefix) {
			text = prefix.AppendTo(text)
			ends[n] = len(text)
			n++
		}
	}
	values, from := string(text), 0
	for _, end := range ends[:n] {
		if scope := (Scope{Type: ScopeIP, Value: values[from:end]}); !slices.Contains(out, scope) {
			out = append(out, scope)
		}
		from = end
	}
	return out
}

// custom returns the types of s.Extra outside the order, sorted.
func (p *plan) custom(s *Subject) []string {
	if len(s.Extra) == 0 {
		return nil
	}
	names := make([]string, 0, len(s.Extra))
	for typ := range s.Extra {
		if typ != ScopeRoute && !slices.Contains(p.order, typ) {
			names = append(names, typ)
		}
	}
	slices.Sort(names)
	return names
}

func (p *plan) appendExtra(out []Scope, typ, value string) []Scope {
	if typ == ScopeIP {
		addr, _ := ParseAddr(value)
		return p.appendIP(out, addr)
	}
	scope, ok := NewScope(typ, value)
	if !ok || slices.Contains(out, scope) {
		return out
	}
	return append(out, scope)
}
