package checker

import (
	"net/netip"
	"slices"
	"strings"
)

// A Subject is who asks: everything about a request that may be blocked. Fields
// that aren't known stay zero and are not looked up.
type Subject struct {
	IP       netip.Addr // the client's address; see [TrustedProxies.ClientAddr]
	User     string     // an authenticated identity, user.id
	Username string     // a name somebody typed, user.name
	Session  string     // session.id
	// Extra holds values of further scope types, by type: those the operator defined. An entry of
	// a built-in type is looked up besides the field.
	Extra map[string]string
	// Path is the request's path as the application sees it, without the
	// query. It decides nothing but the fail mode: see [WithFailClosed].
	Path string
}

// defaultPrecedence is the order in which blocks answer a request. Custom types
// follow, by name.
var defaultPrecedence = [...]string{ScopeUser, ScopeUsername, ScopeSession, ScopeIP}

// precedence returns the order with the types in first moved to its front.
func precedence(first []string) []string {
	order := make([]string, 0, len(first)+len(defaultPrecedence))
	for _, typ := range slices.Concat(first, defaultPrecedence[:]) {
		if typ != ScopeRoute && !slices.Contains(order, typ) {
			order = append(order, typ)
		}
	}
	return order
}

// scopes returns what to look up for s, strongest first, without repeats.
func (s *Subject) scopes(order []string, ipv6Prefix int) []Scope {
	out := make([]Scope, 0, len(defaultPrecedence)+len(s.Extra))
	for _, typ := range order {
		if scope, ok := s.field(typ, ipv6Prefix); ok {
			out = append(out, scope)
		}
		if len(s.Extra) > 0 {
			out = appendExtra(out, typ, s.Extra[typ], ipv6Prefix)
		}
	}
	for _, typ := range s.custom(order) {
		out = appendExtra(out, typ, s.Extra[typ], ipv6Prefix)
	}
	return out
}

// field returns the scope that the field of a built-in type makes.
func (s *Subject) field(typ string, ipv6Prefix int) (Scope, bool) {
	var value string
	switch typ {
	case ScopeIP:
		if !s.IP.IsValid() {
			return Scope{}, false
		}
		return IPScope(s.IP, ipv6Prefix), true
	case ScopeUser:
		value = s.User
	case ScopeUsername:
		value = s.Username
	case ScopeSession:
		value = s.Session
	}
	value = strings.TrimSpace(value)
	return Scope{Type: typ, Value: value}, value != ""
}

// custom returns the types of s.Extra that order doesn't name, by name.
func (s *Subject) custom(order []string) []string {
	if len(s.Extra) == 0 {
		return nil
	}
	names := make([]string, 0, len(s.Extra))
	for typ := range s.Extra {
		if typ != ScopeRoute && !slices.Contains(order, typ) {
			names = append(names, typ)
		}
	}
	slices.Sort(names)
	return names
}

func appendExtra(out []Scope, typ, value string, ipv6Prefix int) []Scope {
	scope, ok := NewScope(typ, value)
	if !ok {
		return out
	}
	if typ == ScopeIP {
		addr, _ := ParseAddr(value)
		scope = IPScope(addr, ipv6Prefix)
	}
	if slices.Contains(out, scope) {
		return out
	}
	return append(out, scope)
}
