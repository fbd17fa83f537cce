// Package enforce decides what a match leads to: which action, on which scopes, until when. It does
// no I/O: it computes a Decision from a Policy, an event and a match.
package enforce

import (
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An Action is what to do about a match; [Block] is permanent if the match's severity is at least
// Policy.BlockSeverity, and temporary otherwise.
type Action = rules.Action

// The actions.
const (
	Observe      = rules.Observe
	Alert        = rules.Alert
	TempBlock    = rules.TempBlock
	PersistBlock = rules.PersistBlock
	Block        = rules.Block
)

// An ActionConfig is an action with its settings; zero values mean the policy's.
type ActionConfig struct {
	Action     Action
	Scopes     []string
	TTL        time.Duration
	StatusCode int
	Message    string
}

// DefaultTTL is the duration of temporary blocks without a configured one.
const DefaultTTL = 5 * time.Minute

// A Policy says what matches lead to. It must not be changed once in use.
type Policy struct {
	// DryRun turns every block into an alert.
	DryRun bool
	// Actions are the configured actions by rule; they take precedence over all others.
	Actions map[string]ActionConfig
	// BlockRules are block durations by rule, for rules without an action.
	BlockRules map[string]time.Duration
	// Defaults are the actions of rules without any configured action.
	Defaults map[string]ActionConfig
	// Fallback is the action if neither the configuration nor the match has one.
	Fallback Action
	// BlockSeverity is the severity from which Block is permanent; negative means never.
	BlockSeverity int
	// DefaultTTL is the duration of temporary blocks; 0 means DefaultTTL.
	DefaultTTL time.Duration
	// StatusCode and Message are the response to denied requests.
	StatusCode int
	Message    string
	// Blockable are the scope types that can be blocked, in the order of blocking.
	Blockable []string
	// Allowlist holds what is never blocked; nil is empty.
	Allowlist *Allowlist
	// Proxies are the operator's reverse proxies. No rule blocks them, since that would block all
	// clients behind them. nil means none.
	Proxies *Allowlist
	// Escalate prolongs the blocks of repeat offenders; nil does not.
	Escalate *Escalation
}

// BuiltinActions returns the default actions of the built-in rules.
func BuiltinActions() map[string]ActionConfig {
	actions := map[string]ActionConfig{}
	for name, d := range rules.DefaultActions() {
		actions[name] = ActionConfig{Action: d.Action, Scopes: d.Scopes}
	}
	return actions
}

// A Decision is what one match leads to.
type Decision struct {
	// Action is the resolved action; Block is resolved to TempBlock or PersistBlock.
	Action Action
	// Blocks are the blocks to put, without an ID. ExpiresAt is zero for permanent ones.
	Blocks []checker.Block
	// Alert reports whether to send an alert.
	Alert bool
	// DryRun are the scopes that would have been blocked if the policy, or the rule, did not only
	// observe.
	DryRun []checker.Scope
	// Allowed are the scopes that were not blocked because they are allowlisted or trusted proxies.
	Allowed []checker.Scope
}

// Resolve returns the Decision for match m of event e.
func (p *Policy) Resolve(e *event.Event, m rules.Match) Decision {
	cfg := p.action(m)
	d := Decision{Action: p.settle(cfg.Action, m.Severity)}
	switch d.Action {
	case Alert:
		d.Alert = true
		return d
	case TempBlock, PersistBlock:
	default:
		return d
	}
	block := p.block(e, m, cfg, d.Action == PersistBlock)
	for _, scope := range p.scopes(e, cfg) {
		switch {
		case p.Allowlist.Holds(scope, e), p.Proxies.Holds(scope, e):
			d.Allowed = append(d.Allowed, scope)
		case p.DryRun, m.Observe:
			d.DryRun = append(d.DryRun, scope)
		default:
			block.Scope = scope
			d.Blocks = append(d.Blocks, block)
		}
	}
	d.Alert = len(d.Allowed)+len(d.DryRun) > 0
	return d
}

// action returns the first of these that exists: the configured action, the rule's configured block
// duration, the rule's configured decision, the built-in rule's default, the match's own decision,
// the fallback. What the operator configured takes precedence over defaults.
func (p *Policy) action(m rules.Match) ActionConfig {
	if cfg, ok := p.Actions[m.Rule]; ok {
		return cfg
	}
	if ttl, ok := p.BlockRules[m.Rule]; ok {
		return ActionConfig{Action: TempBlock, TTL: ttl}
	}
	decision := Action(m.Decision)
	if m.Configured && decision.Known() {
		return ActionConfig{Action: decision}
	}
	if cfg, ok := p.Defaults[m.Rule]; ok {
		return cfg
	}
	if decision.Known() {
		return ActionConfig{Action: decision}
	}
	return ActionConfig{Action: p.Fallback}
}

func (p *Policy) settle(a Action, severity int) Action {
	if a != Block {
		return a
	}
	if p.BlockSeverity >= 0 && severity >= p.BlockSeverity {
		return PersistBlock
	}
	return TempBlock
}

// scopes returns the event's scopes of the types that the action names. A permanent block without
// named types never includes ip, since addresses are shared and reassigned.
func (p *Policy) scopes(e *event.Event, cfg ActionConfig) []checker.Scope {
	types := cfg.Scopes
	if len(types) == 0 {
		types = []string{checker.ScopeIP}
		if cfg.Action == PersistBlock {
			types = []string{checker.ScopeUser, checker.ScopeSession}
		}
	}
	var out []checker.Scope
	for _, typ := range p.Blockable {
		if slices.Contains(types, typ) {
			if value := e.Scope(typ); value != "" {
				out = append(out, checker.Scope{Type: typ, Value: value})
			}
		}
	}
	return out
}

func (p *Policy) block(e *event.Event, m rules.Match, cfg ActionConfig, permanent bool) checker.Block {
	b := checker.Block{
		Reason: m.Message, Rule: m.Rule, CreatedAt: e.Time, Metadata: Scrub(m.Metadata),
		StatusCode: cfg.StatusCode, Message: cfg.Message,
	}
	if b.Reason == "" {
		b.Reason = m.Rule
	}
	if b.StatusCode == 0 {
		b.StatusCode = p.StatusCode
	}
	if b.Message == "" {
		b.Message = p.Message
	}
	if !permanent {
		b.ExpiresAt = e.Time.Add(p.ttl(m, cfg))
	}
	return b
}

func (p *Policy) ttl(m rules.Match, cfg ActionConfig) time.Duration {
	for _, ttl := range [...]time.Duration{cfg.TTL, m.BlockTTL, p.DefaultTTL} {
		if ttl > 0 {
			return ttl
		}
	}
	return DefaultTTL
}
