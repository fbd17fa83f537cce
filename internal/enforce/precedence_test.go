package enforce_test

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A fate is what becomes of one scope.
type fate struct {
	scope     checker.Scope
	permanent bool
	ttl       time.Duration
	spared    string // "allowlist" or "observe": an alert instead
}

// An opinion is what one of those who may speak about a match says.
type opinion struct {
	who    string
	speaks bool
	action enforce.ActionConfig
}

// opinions are, in the order of precedence, what all settings say about a match.
func opinions(p *enforce.Policy, m rules.Match) []opinion {
	action, acts := p.Actions[m.Rule]
	ttl, lasts := p.BlockRules[m.Rule]
	standard, built := p.Defaults[m.Rule]
	own := enforce.ActionConfig{Action: enforce.Action(m.Decision)}
	proposes := slices.Contains([]string{"observe", "alert", "temp_block", "persist_block", "block"}, m.Decision)
	return []opinion{
		{"actions", acts, action},
		{"block_rules", lasts, enforce.ActionConfig{Action: enforce.TempBlock, TTL: ttl}},
		{"the rule, as it was configured", proposes && m.Configured, own},
		{"the built-in's default action", built, standard},
		{"the rule", proposes, own},
		{"default_action", true, enforce.ActionConfig{Action: p.Fallback}},
	}
}

// fates says what must become of whom, and whether there must be an alert.
func fates(p *enforce.Policy, allowed []string, e *event.Event, m rules.Match) (out []fate, alert bool) {
	all := opinions(p, m)
	said := all[slices.IndexFunc(all, func(o opinion) bool { return o.speaks })].action
	permanent := said.Action == enforce.PersistBlock || said.Action == enforce.Block && p.BlockSeverity >= 0 && m.Severity >= p.BlockSeverity
	switch {
	case said.Action == enforce.Alert:
		return nil, true
	case said.Action == enforce.Observe:
		return nil, false
	}
	types := said.Scopes
	if len(types) == 0 && said.Action == enforce.PersistBlock {
		types = []string{"user", "session"}
	} else if len(types) == 0 {
		types = []string{"ip"}
	}
	for _, typ := range p.Blockable {
		at := slices.IndexFunc(e.Scopes, func(s checker.Scope) bool { return s.Type == typ })
		if at < 0 || !slices.Contains(types, typ) {
			continue
		}
		f := fate{scope: e.Scopes[at], permanent: permanent}
		switch {
		case listed(allowed, f.scope):
			f.spared = "allowlist"
		case p.DryRun:
			f.spared = "observe"
		case !permanent:
			lengths := []time.Duration{said.TTL, m.BlockTTL, p.DefaultTTL, 5 * time.Minute}
			f.ttl = lengths[slices.IndexFunc(lengths, func(d time.Duration) bool { return d > 0 })]
		}
		alert = alert || f.spared != ""
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b fate) int { return strings.Compare(a.spared, b.spared) })
	return out, alert
}

// listed reports whether an allowlist names a scope.
func listed(allowed []string, s checker.Scope) bool {
	for _, entry := range allowed {
		if entry == s.Type+":"+s.Value || s.Type == "ip" && entry == s.Value {
			return true
		}
		prefix, err := netip.ParsePrefix(entry)
		addr, notAddr := netip.ParseAddr(s.Value)
		if err == nil && notAddr == nil && s.Type == "ip" && prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func drawAction(rt *rapid.T, label string) enforce.Action {
	return rapid.SampledFrom([]enforce.Action{enforce.Observe, enforce.Alert, enforce.TempBlock, enforce.PersistBlock, enforce.Block}).Draw(rt, label)
}

func drawTTL(rt *rapid.T, label string) time.Duration {
	return time.Duration(rapid.SampledFrom([]int{-1, 0, 0, 1, 60, 86_400}).Draw(rt, label)) * time.Second
}

// drawSome draws some of all, in any order.
func drawSome(rt *rapid.T, label string, all ...string) []string {
	return rapid.Permutation(all).Draw(rt, label)[:rapid.IntRange(0, len(all)).Draw(rt, label+" n")]
}

var ruleNames = []string{"brute_force_login", "sensitive_field_change", "resource_enumeration", "r"}

func drawPolicy(rt *rapid.T) (p *enforce.Policy, allowed []string) {
	p = policy()
	p.DryRun = rapid.IntRange(0, 4).Draw(rt, "dry run") == 0
	p.Fallback, p.DefaultTTL = drawAction(rt, "fallback"), drawTTL(rt, "default TTL")
	p.BlockSeverity = rapid.IntRange(-1, 10).Draw(rt, "block severity")
	p.Blockable = drawSome(rt, "blockable", p.Blockable...)
	p.Actions, p.BlockRules = map[string]enforce.ActionConfig{}, map[string]time.Duration{}
	for _, rule := range drawSome(rt, "actions", ruleNames...) {
		p.Actions[rule] = enforce.ActionConfig{
			Action: drawAction(rt, "action"), TTL: drawTTL(rt, "TTL"), Scopes: drawSome(rt, "scopes", "ip", "user", "session", "username", "tenant", "route"),
		}
	}
	for _, rule := range drawSome(rt, "block rules", ruleNames...) {
		p.BlockRules[rule] = drawTTL(rt, "TTL")
	}
	allowed = drawSome(rt, "allowlist", "203.0.113.0/24", "10.0.0.0/8", "203.0.113.9", "ip:203.0.113.9", "user:u1", "session:u1", "tenant:t1", "2001:db8::/32")
	if rapid.Bool().Draw(rt, "no allowlist") {
		return p, nil
	}
	list, at, err := enforce.NewAllowlist(allowed)
	if err != nil {
		rt.Fatalf("%q: %v", allowed[at], err)
	}
	p.Allowlist = list
	return p, allowed
}

// TestPrecedence: of random policies, events and matches comes what a list of settings, in order,
// says.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p, allowed := drawPolicy(rt)
		for range 10 {
			e := incident()
			e.Scopes = slices.DeleteFunc(e.Scopes, func(s checker.Scope) bool { return rapid.IntRange(0, 3).Draw(rt, "without "+s.Type) == 0 })
			m := rules.Match{
				Rule: rapid.SampledFrom(ruleNames).Draw(rt, "rule"), Severity: rapid.IntRange(0, 10).Draw(rt, "severity"),
				Decision:   rapid.SampledFrom([]string{"", "observe", "alert", "temp_block", "persist_block", "block", "quarantine"}).Draw(rt, "decision"),
				Configured: rapid.Bool().Draw(rt, "configured"), BlockTTL: drawTTL(rt, "match's TTL"),
			}
			want, alert := fates(p, allowed, e, m)
			got := p.Resolve(e, m)
			if met := became(got); !slices.Equal(met, want) || got.Alert != alert {
				rt.Fatalf("%+v, alert %t; want %+v, %t: of %+v, %+v, allowlist %q", met, got.Alert, want, alert, m, *p, allowed)
			}
		}
	})
}

// became is what a decision makes of whom: the blocked, the allowlisted, the observed, each in the
// order of blocking.
func became(d enforce.Decision) []fate {
	var out []fate
	for _, b := range d.Blocks {
		f := fate{scope: b.Scope, permanent: b.Permanent()}
		if !f.permanent {
			f.ttl = b.ExpiresAt.Sub(at)
		}
		out = append(out, f)
	}
	for _, s := range d.Allowed {
		out = append(out, fate{scope: s, permanent: d.Action == enforce.PersistBlock, spared: "allowlist"})
	}
	for _, s := range d.DryRun {
		out = append(out, fate{scope: s, permanent: d.Action == enforce.PersistBlock, spared: "observe"})
	}
	return out
}

// TestEscalationModel: the length is multiplied once for each block before, up to the bound, never
// made shorter; a block becomes permanent after enough of them, on ip only if that was asked for.
func TestEscalationModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		cfg := enforce.Escalation{
			Factor: rapid.SampledFrom([]float64{0, 1, 1.5, 2, 10, 1e300}).Draw(rt, "factor"), MaxTTL: drawTTL(rt, "max TTL"),
			PermanentAfter: rapid.IntRange(0, 5).Draw(rt, "permanent after"), PermanentIP: rapid.Bool().Draw(rt, "permanent ip"),
		}
		before := rapid.IntRange(0, 12).Draw(rt, "before")
		b := checker.Block{Scope: checker.Scope{Type: rapid.SampledFrom([]string{"ip", "user"}).Draw(rt, "type"), Value: "v"}, CreatedAt: at}
		ttl := time.Duration(rapid.SampledFrom([]int{1, 300, 100_000}).Draw(rt, "TTL")) * time.Second
		permanent := rapid.IntRange(0, 4).Draw(rt, "permanent") == 0
		if !permanent {
			b.ExpiresAt = at.Add(ttl)
		}
		bound := 365 * 24 * time.Hour
		if cfg.MaxTTL > 0 {
			bound = cfg.MaxTTL
		}
		want := ttl.Seconds()
		for range before {
			want = math.Min(want*math.Max(cfg.Factor, 1), math.Max(bound.Seconds(), ttl.Seconds()))
		}
		permanent = permanent || cfg.PermanentAfter > 0 && before >= cfg.PermanentAfter && (b.Scope.Type == "user" || cfg.PermanentIP)
		got := enforce.NewEscalation(cfg).Apply(b, before)
		switch {
		case got.Permanent() != permanent:
			rt.Fatalf("%+v after %d blocks: permanent: %t, want %t", cfg, before, got.Permanent(), permanent)
		case !permanent && math.Abs(got.ExpiresAt.Sub(at).Seconds()-want) > 1e-6*want:
			rt.Fatalf("%+v after %d blocks of %s: %s, want %f s", cfg, before, ttl, got.ExpiresAt.Sub(at), want)
		}
	})
}
