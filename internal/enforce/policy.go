// Package enforce decides what follows from a match: which action, on which
// scopes, until when. It is pure: a Policy, an event and a match go in, a
// Decision comes out.
package enforce

import (
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An Action says what to do about a match.
type Action string

// The actions. Block becomes permanent at a severity of Policy.BlockSeverity
// and above, and is temporary below.
const (
	Observe      Action = "observe"
	Alert        Action = "alert"
	TempBlock    Action = "temp_block"
	PersistBlock Action = "persist_block"
	Block        Action = "block"
)

// Known reports whether a is one of the actions.
func (a Action) Known() bool {
	switch a {
	case Observe, Alert, TempBlock, PersistBlock, Block:
		return true
	}
	return false
}

// An ActionConfig is an action with its particulars; zero ones are left to the
// policy.
type ActionConfig struct {
	Action     Action
	Scopes     []string
	TTL        time.Duration
	StatusCode int
	Message    string
}

// DefaultTTL is how long a temporary block lasts where nobody says otherwise.
const DefaultTTL = 5 * time.Minute

// A Policy says what follows from matches. It is read-only once in use.
type Policy struct {
	// DryRun turns every block into an alert.
	DryRun bool
	// Actions are the configured actions by rule; they come before all else.
	Actions map[string]ActionConfig
	// BlockRules are block lengths by rule, for rules without an action.
	BlockRules map[string]time.Duration
	// Defaults are the actions of rules that configuration says nothing of.
	Defaults map[string]ActionConfig
	// Fallback is the action where neither configuration nor match has one.
	Fallback Action
	// BlockSeverity is where Block becomes permanent; negative: never.
	BlockSeverity int
	// DefaultTTL is the length of temporary blocks; 0 means DefaultTTL.
	DefaultTTL time.Duration
	// StatusCode and Message answer denied requests.
	StatusCode int
	Message    string
	// Blockable are the scope types that can be blocked, in the order in which they are.
	Blockable []string
	// Allowlist names what is never blocked; nil allows nothing.
	Allowlist *Allowlist
	// Proxies are the operator's own reverse proxies, which no rule blocks: their
	// address stands for everybody behind them. nil: none are known.
	Proxies *Allowlist
	// Escalate lengthens the blocks of repeat offenders; nil leaves them as they are.
	Escalate *Escalation
}

// BuiltinActions returns the default actions of the built-in rules.
func BuiltinActions() map[string]ActionConfig {
	ip := ActionConfig{Action: TempBlock, Scopes: []string{checker.ScopeIP}}
	return map[string]ActionConfig{
		"brute_force_login":       ip,
		"login_throttle":          ip,
		"repeated_client_error":   ip,
		"repeated_route":          ip,
		"request_body_threshold":  ip,
		"suspicious_proxy_header": ip,
		"resource_enumeration":    {Action: Alert},
		"sensitive_field_change":  {Action: PersistBlock, Scopes: []string{checker.ScopeUser, checker.ScopeSession}},
	}
}

// A Decision is what follows from one match.
type Decision struct {
	// Action is what was resolved; Block stands as TempBlock or PersistBlock.
	Action Action
	// Blocks are to be put; their ExpiresAt is absolute and zero for permanent
	// ones. They carry no ID.
	Blocks []checker.Block
	// Alert says that an alert is due.
	Alert bool
	// DryRun are the scopes that would have been blocked, had the policy not been one
	// to observe.
	DryRun []checker.Scope
	// Allowed are the scopes that the allowlist, or being a trusted proxy, kept from being blocked.
	Allowed []checker.Scope
}

// Resolve decides what follows from match m of event e.
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
		case p.DryRun:
			d.DryRun = append(d.DryRun, scope)
		default:
			block.Scope = scope
			d.Blocks = append(d.Blocks, block)
		}
	}
	d.Alert = len(d.Allowed)+len(d.DryRun) > 0
	return d
}

// action finds the configured action, the rule's block length, the decision
// that the rule was configured to, the built-in's default, the match's own
// decision or the fallback, in this order: the operator's word before ours.
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

// scopes are the event's values of the scope types that the action names. A
// permanent block that names none is never on ip: an address is shared, and somebody
// else's tomorrow.
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
