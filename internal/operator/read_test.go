package operator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

func putBlocks(t *testing.T, blocks store.Blocks, rule string, scopes ...checker.Scope) {
	t.Helper()
	for i, scope := range scopes {
		block := checker.Block{ID: fmt.Sprint("b", i), Scope: scope, Rule: rule, ExpiresAt: time.Now().Add(time.Hour)}
		if results, err := blocks.Put(t.Context(), []store.Put{{Block: block}}); err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
	}
}

func ip(value string) checker.Scope { return checker.Scope{Type: "ip", Value: value} }

func TestListSelectsAndLimits(t *testing.T) {
	t.Parallel()
	r := Reader{Blocks: redisBlocks(t)}
	putBlocks(t, r.Blocks, "a", ip("203.0.113.1"), ip("203.0.113.2"))
	putBlocks(t, r.Blocks, "b", ip("203.0.113.3"), checker.Scope{Type: "user", Value: "42"})
	for _, c := range []struct {
		selection Selection
		blocks    int
		more      bool
	}{
		{Selection{}, 4, false},
		{Selection{Limit: 4}, 4, false},
		{Selection{Limit: 3}, 3, true},
		{Selection{ScopeType: "ip"}, 3, false},
		{Selection{ScopeType: "ip", Limit: 2}, 2, true},
		{Selection{Rule: "b"}, 2, false},
		{Selection{Rule: "b", Limit: 2}, 2, false},
		{Selection{ScopeType: "user", Rule: "a"}, 0, false},
	} {
		l, err := r.List(t.Context(), c.selection)
		if err != nil || l.Partial != nil || len(l.Blocks) != c.blocks || l.More != c.more {
			t.Errorf("%+v: %d blocks, more %v, partial %v, %v", c.selection, len(l.Blocks), l.More, l.Partial, err)
		}
	}
}

// partial is a store whose Postgres fails.
type partial struct{ store.Blocks }

func (p partial) List(ctx context.Context, limit int) ([]checker.Block, error) {
	blocks, _ := p.Blocks.List(ctx, limit)
	return blocks, fmt.Errorf("list: %w", store.ErrPartial)
}

func TestListWithoutPostgresIsPartial(t *testing.T) {
	t.Parallel()
	r := Reader{Blocks: partial{redisBlocks(t)}}
	putBlocks(t, r.Blocks, "a", ip("203.0.113.1"))
	if l, err := r.List(t.Context(), Selection{}); err != nil || l.Partial == nil || len(l.Blocks) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestLookUpFindsRangesNarrowestFirst: an address is denied by its own block and by those of the
// ranges that it is in.
func TestLookUpFindsRangesNarrowestFirst(t *testing.T) {
	t.Parallel()
	r := Reader{Blocks: redisBlocks(t), Scopes: Scopes{Blockable: []string{"ip"}}}
	putBlocks(t, r.Blocks, "a", ip("203.0.0.0/16"), ip("203.0.113.9"), ip("203.0.113.0/24"), ip("198.51.100.0/24"))
	for value, want := range map[string]string{
		"203.0.113.9":   "203.0.113.9 203.0.113.0/24 203.0.0.0/16",
		"203.0.113.8":   "203.0.113.0/24 203.0.0.0/16",
		"203.0.7.0/24":  "203.0.0.0/16",
		"192.0.2.1":     "",
		"203.0.0.0/15":  "",
		"2001:db8::/48": "",
	} {
		found, err := r.LookUp(t.Context(), ip(value))
		var got []string
		for _, b := range found {
			got = append(got, b.Scope.Value)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s is denied by %v, want %q; %v", value, got, want, err)
		}
	}
}

// TestLookUpOfUnknownTypeIsAnErrorUnlessBlocked: a scope that was blocked under another
// configuration can be shown and unblocked.
func TestLookUpOfUnknownTypeIsAnErrorUnlessBlocked(t *testing.T) {
	t.Parallel()
	o := Operator{Blocks: redisBlocks(t), Sinks: failingSink{}, Scopes: Scopes{Blockable: []string{"ip"}}, Now: time.Now}
	known, unknown := checker.Scope{Type: "device", Value: "1"}, checker.Scope{Type: "device", Value: "2"}
	putBlocks(t, o.Blocks, "a", known)
	if found, err := o.LookUp(t.Context(), known); err != nil || len(found) != 1 {
		t.Errorf("blocked: %v, %v", found, err)
	}
	const want = `"device" is not a scope that can be blocked; use one of ip`
	if _, err := o.LookUp(t.Context(), unknown); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("look-up: %v", err)
	}
	if _, err := o.Unblock(t.Context(), UnblockRequest{Scope: unknown}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("unblock: %v", err)
	}
	if lifted, _ := o.Unblock(t.Context(), UnblockRequest{Scope: known}); len(lifted) != 1 {
		t.Errorf("lifted %v", lifted)
	}
}

func TestRisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scope     checker.Scope
		permanent bool
		want      Risk
	}{
		{ip("203.0.113.9"), true, SharedAddress},
		{ip("203.0.113.9"), false, NoRisk},
		{ip("203.0.0.0/16"), true, SharedAddress},
		{ip("203.0.0.0/16"), false, NoRisk},
		{ip("203.0.0.0/15"), false, WideRange},
		{ip("2001:db8::/32"), false, NoRisk},
		{ip("2001:d00::/24"), false, WideRange},
		{checker.Scope{Type: "user", Value: "42"}, true, NoRisk},
	} {
		if got := (Scopes{}).Risk(c.scope, c.permanent); got != c.want {
			t.Errorf("%s, permanent %v: risk %d, want %d", c.scope, c.permanent, got, c.want)
		}
	}
}
