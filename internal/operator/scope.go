package operator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/spelling"
	"github.com/wardstream/wardstream/pkg/checker"
)

// maxScopeValue bounds what an operator can block, in bytes: attributes that are longer
// are cut before they make a scope.
const maxScopeValue = 4096

var errText = errors.New("must be text, without control characters, of up to 4096 bytes")

// Scopes is what the configuration says about the scopes that an operator names.
type Scopes struct {
	Blockable []string // the types that can be blocked
	Allowlist *enforce.Allowlist
	// IPv6Prefix is how many bits of an IPv6 address make one scope; 0 means all.
	IPv6Prefix int
}

// ScopesOf returns the Scopes of a configuration.
func ScopesOf(cfg *config.Config) Scopes {
	return Scopes{Blockable: cfg.Policy.Blockable, Allowlist: cfg.Policy.Allowlist, IPv6Prefix: cfg.IPv6Prefix}
}

// Parse returns the scope of a type and a value as an operator writes them, canonical. The type
// may be one that cannot be blocked.
func (s Scopes) Parse(typ, value string) (checker.Scope, error) {
	if len(value) > maxScopeValue || !utf8.ValidString(value) || strings.ContainsFunc(value, isControl) {
		return checker.Scope{}, fmt.Errorf("value of %s: %w", typ, errText)
	}
	scope, ok := Canonical(checker.Scope{Type: typ, Value: value}, s.IPv6Prefix)
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

// ParseBlockable is Parse for a scope to block: it refuses one whose block would deny no client.
func (s Scopes) ParseBlockable(typ, value string) (checker.Scope, error) {
	if !s.known(typ) {
		return checker.Scope{}, s.unknown(typ)
	}
	scope, err := s.Parse(typ, value)
	if err != nil {
		return scope, err
	}
	if p, ok := rangeOf(scope); ok && p.Addr().Is6() && p.Bits() > s.IPv6Prefix {
		return scope, fmt.Errorf("ip %q: would block no client, as ingress asks for /%d (ipv6_prefix); name an address in it", value, s.IPv6Prefix)
	}
	return scope, nil
}

func (s Scopes) known(typ string) bool { return slices.Contains(s.Blockable, typ) }

func (s Scopes) unknown(typ string) error {
	known := strings.Join(s.Blockable, ", ")
	if typ == checker.ScopeRoute {
		return fmt.Errorf("%q: routes are counted, never blocked; use one of %s", typ, known)
	}
	return fmt.Errorf("%.80q is not a scope that can be blocked; use one of %s, or list it in scopes with block: true%s",
		typ, known, spelling.Suggestion(typ, s.Blockable))
}

// Canonical returns the scope as detection and ingress write it; false if it is not a
// scope. An IPv6 address stands for its prefix of ipv6Prefix bits (0: all), and a range for itself.
func Canonical(s checker.Scope, ipv6Prefix int) (checker.Scope, bool) {
	if s.Type != checker.ScopeIP {
		return checker.NewScope(s.Type, s.Value)
	}
	value := strings.TrimSpace(s.Value)
	if p, err := netip.ParsePrefix(value); err == nil {
		if !p.IsSingleIP() {
			return checker.RangeScope(p)
		}
		value = p.Addr().String()
	}
	addr, ok := checker.ParseAddr(value)
	if !ok {
		return checker.Scope{}, false
	}
	return checker.IPScope(addr, ipv6Prefix), true
}
