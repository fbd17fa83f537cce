package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/detector"
	"github.com/wardstream/wardstream/internal/event"
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
	if p, err := netip.ParsePrefix(scope.Value); typ == checker.ScopeIP && err == nil && p.Bits() != cfg.IPv6Prefix {
		return scope, fmt.Errorf("ip %q: would block nobody, as ingress asks for /%d (ipv6_prefix); name an address in it", value, cfg.IPv6Prefix)
	}
	return scope, nil
}

// scopeOf is the scope of a type and a value as typed, canonical.
func scopeOf(cfg *config.Config, typ, value string) (checker.Scope, error) {
	if len(value) > maxScopeValue || !utf8.ValidString(value) || strings.ContainsFunc(value, isControl) {
		return checker.Scope{}, fmt.Errorf("value of %s: %w", typ, errText)
	}
	operator := detector.Operator{IPv6Prefix: cfg.IPv6Prefix}
	scope, ok := operator.Canonical(checker.Scope{Type: typ, Value: value})
	switch {
	case ok:
		return scope, nil
	case typ == checker.ScopeIP:
		return scope, fmt.Errorf("ip %q: is no address; write one such as 203.0.113.9 or 2001:db8::1 (ranges can't be blocked)", value)
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
	return fmt.Errorf("%q: is no scope that can be blocked; use one of %s, or list it in scopes with block: true", clip(typ), known)
}

// knownScope refuses a scope of a type that the configuration doesn't know, unless
// it is blocked: under another configuration, that is.
func knownScope(ctx context.Context, cfg *config.Config, s *detector.Stores, scope checker.Scope) error {
	if slices.Contains(cfg.Policy.Blockable, scope.Type) {
		return nil
	}
	_, blocked, err := lookUp(ctx, s, scope)
	if err == nil && !blocked {
		err = noType(cfg, scope.Type)
	}
	return err
}

// lookUp returns the block of a scope, false if there is none.
func lookUp(ctx context.Context, s *detector.Stores, scope checker.Scope) (checker.Block, bool, error) {
	blocks, err := s.Blocks.Lookup(ctx, []checker.Scope{scope})
	if err != nil {
		return checker.Block{}, false, err
	}
	if len(blocks) == 0 {
		return checker.Block{}, false, nil
	}
	strongest := blocks[0]
	for _, b := range blocks[1:] {
		if b.Stronger(strongest) {
			strongest = b
		}
	}
	return strongest, true, nil
}

// allowlisted reports whether the allowlist keeps rules from blocking the scope.
func allowlisted(cfg *config.Config, scope checker.Scope) bool {
	return cfg.Policy.Allowlist.Holds(scope, &event.Event{})
}
