package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/spelling"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// builtinBlockable are the scope types that every deployment can block, in the
// order in which they answer.
func builtinBlockable() []string {
	return []string{checker.ScopeUser, checker.ScopeUsername, checker.ScopeSession, checker.ScopeIP}
}

const (
	maxScopes          = 16
	maxScopeAttributes = 16
	maxAttributeName   = 256
)

var scopeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func (v *validator) checkScopes() {
	if len(v.c.Scopes) > maxScopes {
		v.Refuse("scopes", "lists more than %d scopes", maxScopes)
	}
	for i, scope := range v.c.Scopes {
		key := fmt.Sprintf("scopes[%d]", i)
		v.checkScopeName(key, i, scope.Name)
		if len(scope.Attributes) == 0 || len(scope.Attributes) > maxScopeAttributes {
			v.Refuse(key+".attributes", "must list 1 to %d attributes whose value is the scope's, such as [tenant.id]", maxScopeAttributes)
		}
		for j, name := range scope.Attributes {
			v.checkName(fmt.Sprintf("%s.attributes[%d]", key, j), name, maxAttributeName)
		}
	}
}

func (v *validator) checkScopeName(key string, i int, name string) {
	switch {
	case name == "":
		v.Refuse(key+".name", "is missing; give the scope a name such as tenant")
	case name == checker.ScopeRoute || slices.Contains(builtinBlockable(), name):
		v.Refuse(key+".name", "%s is built in; choose another name", strictconfig.Quote(name))
	case !scopeName.MatchString(name):
		v.Refuse(key+".name", "%s is not a scope name; use up to 32 of a-z, 0-9 and _, with a letter first", strictconfig.Quote(name))
	case slices.IndexFunc(v.c.Scopes, func(s Scope) bool { return s.Name == name }) < i:
		v.Refuse(key+".name", "%s is there twice; keep one", strictconfig.Quote(name))
	}
}

// blockable returns the scope types that can be blocked, in the order in which
// they answer: those of the precedence, the other built-in ones, the operator's
// by name. The checker orders them the same way.
func (v *validator) blockable() []string {
	order := slices.Concat(v.c.Blocks.Precedence, builtinBlockable())
	var custom []string
	for _, s := range v.c.Scopes {
		if s.Block {
			custom = append(custom, s.Name)
		}
	}
	slices.Sort(custom)
	var out []string
	for _, typ := range append(order, custom...) {
		if !slices.Contains(out, typ) {
			out = append(out, typ)
		}
	}
	return out
}

// checkBlockable refuses a scope type that doesn't exist or can't be blocked.
func (v *validator) checkBlockable(key, typ string) bool {
	known := builtinBlockable()
	if slices.Contains(known, typ) {
		return true
	}
	for _, s := range v.c.Scopes {
		if s.Name == typ && !s.Block {
			v.Refuse(key, "%s is only counted; set block: true where it is listed in scopes", strictconfig.Quote(typ))
			return false
		}
		known = append(known, s.Name)
	}
	switch {
	case typ == checker.ScopeRoute:
		v.Refuse(key, `"route" is counted and never blocked; use one of %s`, strings.Join(known, ", "))
		return false
	case !slices.Contains(known, typ):
		v.Refuse(key, "%s is not a scope; use one of %s or list it in scopes%s", strictconfig.Quote(typ), strings.Join(known, ", "), spelling.Suggestion(typ, known))
		return false
	}
	return true
}

func (v *validator) checkPrecedence() {
	v.checkScopeList("blocks.precedence", v.c.Blocks.Precedence)
}

func (v *validator) checkScopeList(key string, types []string) {
	for i, typ := range types {
		at := fmt.Sprintf("%s[%d]", key, i)
		if v.checkBlockable(at, typ) && slices.Index(types, typ) < i {
			v.Refuse(at, "%s is there twice; keep one", strictconfig.Quote(typ))
		}
	}
}

// checkAllowlist returns the allowlist.
func (v *validator) checkAllowlist() *enforce.Allowlist {
	list, at, err := enforce.NewAllowlist(v.c.Allowlist)
	if err != nil {
		v.Refuse(fmt.Sprintf("allowlist[%d]", at), "%v", err)
		return nil
	}
	for i, entry := range v.c.Allowlist {
		if typ, ok := scopeOf(entry); ok {
			v.checkBlockable(fmt.Sprintf("allowlist[%d]", i), typ)
		}
	}
	return list
}

// checkTrustedProxies returns the trusted proxies.
func (v *validator) checkTrustedProxies() checker.TrustedProxies {
	for i, entry := range v.c.TrustedProxies {
		if _, err := checker.ParseTrustedProxies([]string{entry}, 0); err != nil || strings.TrimSpace(entry) == "" {
			v.Refuse(fmt.Sprintf("trusted_proxies[%d]", i), "%s is neither an address nor a range like 10.0.0.0/8", strictconfig.Quote(entry))
		}
	}
	proxies, _ := checker.ParseTrustedProxies(v.c.TrustedProxies, 0) // refused above
	return proxies
}

// scopeOf returns the scope type of an allowlist entry, false for an address
// or a range.
func scopeOf(entry string) (typ string, ok bool) {
	entry = strings.TrimSpace(entry)
	if _, err := netip.ParsePrefix(entry); err == nil {
		return "", false
	}
	if _, ok := checker.ParseAddr(entry); ok {
		return "", false
	}
	typ, _, _ = strings.Cut(entry, ":")
	return typ, typ != checker.ScopeIP
}

// rangeOf returns the range of addresses of an allowlist entry, if it is one.
func rangeOf(entry string) (netip.Prefix, bool) {
	entry = strings.TrimPrefix(strings.TrimSpace(entry), checker.ScopeIP+":")
	p, err := netip.ParsePrefix(entry)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, true
}

const (
	maxPlaceholders    = 64
	longestPlaceholder = 64
)

func (v *validator) checkPlaceholders() {
	if n := len(v.c.Placeholders); n > maxPlaceholders {
		v.Refuse("placeholders", "has %d elements; up to %d are allowed", n, maxPlaceholders)
	}
	for i, text := range v.c.Placeholders {
		if strings.TrimSpace(text) == "" || len(text) > longestPlaceholder {
			v.Refuse(fmt.Sprintf("placeholders[%d]", i), "is not text of 1 to %d bytes", longestPlaceholder)
		}
	}
}

func (v *validator) decoderOptions() wire.DecoderOptions {
	c := v.c
	o := wire.DecoderOptions{
		Limits: wire.Limits{
			EntryBytes: c.Limits.EntryBytes, Attributes: c.Limits.Attributes,
			Depth: c.Limits.Depth, StringBytes: c.Limits.StringBytes,
		},
		IPv6Prefix:   c.IPv6Prefix,
		IPv6Port:     wire.IPv6Port(c.IPv6Port),
		OwnTime:      c.Stream.EventTime == "event",
		Placeholders: c.Placeholders,
	}
	if o.IPv6Port == portUnknown {
		o.IPv6Port = wire.PortUnknown
	}
	for _, compared := range c.RuleSet.Comparisons() {
		o.Comparisons = append(o.Comparisons, wire.Comparison(compared))
	}
	for _, s := range c.Scopes {
		o.Scopes = append(o.Scopes, wire.ScopeSpec(s))
	}
	return o
}
