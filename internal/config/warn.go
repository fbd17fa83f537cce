package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/pkg/checker"
)

// warn adds the warnings about what is allowed but worth a second look.
func (v *validator) warn() {
	v.warnGeneral()
	v.warnStream()
	v.warnOverload()
	v.warnWebhooks()
	v.warnRules()
	v.warnActions()
	v.warnAllowlist()
}

func (v *validator) warnf(format string, args ...any) {
	v.c.Warnings = append(v.c.Warnings, strictconfig.OneLine(fmt.Sprintf(format, args...)))
}

func (v *validator) warnGeneral() {
	c := v.c
	if c.Mode == "observe" {
		v.warnf("mode is observe: nothing is blocked, every block becomes an alert")
	}
	if c.Postgres.URL == "" {
		v.warnf("postgres.url is not set: permanent blocks are kept in Redis for %s only (blocks.permanent_cache_ttl)",
			strictconfig.FormatDuration(c.Blocks.PermanentCacheTTL))
	}
	if e := c.Events; !e.Stdout && e.Stream == "" && !e.OTLP && len(e.Webhooks) == 0 {
		v.warnf("events has neither stdout, stream, otlp nor webhooks: enforcement events go nowhere")
	}
	if off := defaults("").Escalate; !c.Escalate.on() && c.Escalate != off {
		v.warnf("escalate is off: set escalate.factor above 1 or escalate.permanent_after")
	}
	if c.Escalate.PermanentIP {
		v.warnf("escalate.permanent_ip: an address can be blocked permanently, with everyone who shares it")
	}
}

func (v *validator) warnStream() {
	c := v.c
	if c.Stream.EventTime == "event" {
		v.warnf("stream.event_time is event: producers' clocks decide, which is for replays and imports")
	}
	if c.Windows.Lateness < c.Stream.ClaimMinIdle {
		v.warnf("windows.lateness (%s) is shorter than stream.claim_min_idle (%s): claimed entries may be counted too low",
			strictconfig.FormatDuration(c.Windows.Lateness), strictconfig.FormatDuration(c.Stream.ClaimMinIdle))
	}
	if slices.Contains(c.Stream.Names, c.Events.Stream) {
		v.warnf("events.stream is read as a source, too: the detector skips its own events, so name another stream")
	}
}

func (v *validator) warnRules() {
	if len(v.c.Rules) == 0 {
		v.warnf("rules is empty: nothing is detected; list rules such as brute_force_login")
	}
	if v.runs("login_throttle") && !v.runs("brute_force_login") {
		v.warnf("login_throttle never matches without brute_force_login, whose failures it reads")
	}
	for i := range v.c.Rules {
		v.warnRule(&v.c.Rules[i])
	}
}

// warnRule warns of a rule that blocks the innocent unless it is configured further.
func (v *validator) warnRule(r *Rule) {
	switch r.Type {
	case "repeated_route":
		if paths, _ := r.param("paths").([]string); len(paths) == 0 && v.mayBlock(r) {
			v.warnf("%s has no paths: %v requests of an address to any route make a match, with all who share the address; list the paths to watch",
				r.Name, r.param("threshold"))
		}
	case "sensitive_field_change":
		_, hasAction := v.c.Actions[r.Name]
		_, hasTTL := v.c.BlockRules[r.Name]
		if !hasAction && !hasTTL && r.param("mode") != "observe" {
			v.warnf("%[1]s has no action, so its default blocks user and session permanently, people who change their own password "+
				"and administrators included; set actions.%[1]s to observe, or block only what you mean", r.Name)
		}
	}
}

// mayBlock reports whether a match of r can lead to a block: unless it is
// configured to an action that never does.
func (v *validator) mayBlock(r *Rule) bool {
	harmless := func(action string) bool { return action == string(enforce.Observe) || action == string(enforce.Alert) }
	if r.param("mode") == "observe" {
		return false
	}
	if a, ok := v.c.Actions[r.Name]; ok {
		return !harmless(a.Action)
	}
	_, hasTTL := v.c.BlockRules[r.Name]
	decision, _ := r.param("decision").(string)
	return hasTTL || !harmless(decision)
}

func (v *validator) warnActions() {
	c := v.c
	for i := range c.Rules {
		v.warnDecision(&c.Rules[i])
	}
	for _, rule := range slices.Sorted(maps.Keys(c.Actions)) {
		a := c.Actions[rule]
		severity, _ := c.Rules[slices.IndexFunc(c.Rules, func(r Rule) bool { return r.Name == rule })].param("severity").(int)
		if a.permanentOnIP(severity, c.Blocks.BlockSeverity) {
			v.warnf("actions.%s blocks addresses permanently: everyone who shares one (an office, a mobile network) stays blocked", rule)
		}
		if slices.Contains(a.Scopes, checker.ScopeUsername) && a.Action != string(enforce.Observe) && a.Action != string(enforce.Alert) {
			v.warnf("actions.%s blocks user names: anyone who tries a name locks its owner out; leave username out of its scopes", rule)
		}
		if a.Action == string(enforce.PersistBlock) && len(a.Scopes) == 0 {
			v.warnf("actions.%s is persist_block without scopes: it blocks user and session, never ip", rule)
		}
		if unused := a.unused(); len(unused) > 0 {
			v.warnf("actions.%s: %s without effect, since the action is %s", rule, strings.Join(unused, " and "), a.Action)
		}
		if _, ok := c.BlockRules[rule]; ok {
			v.warnf("block_rules.%s has no effect: actions.%s comes first", rule, rule)
		}
	}
}

// warnDecision warns of a rule whose own decision is a permanent block.
func (v *validator) warnDecision(r *Rule) {
	_, hasAction := v.c.Actions[r.Name]
	_, hasTTL := v.c.BlockRules[r.Name]
	if decision, _ := r.param("decision").(string); decision == string(enforce.PersistBlock) && !hasAction && !hasTTL {
		v.warnf("%s has the decision persist_block: it blocks user and session, never ip", r.Name)
	}
}

func (v *validator) warnAllowlist() {
	for _, entry := range v.c.Allowlist {
		if p, ok := rangeOf(entry); ok && broad(p) {
			v.warnf("allowlist has %s: a large part of the Internet is never blocked", p)
		}
	}
}

// broad reports whether a range holds more public addresses than one network has.
func broad(p netip.Prefix) bool {
	addr := p.Masked().Addr()
	switch {
	case addr.Is4():
		return p.Bits() < 8
	case addr.IsPrivate(), addr.IsLinkLocalUnicast():
		return p.Bits() < 7
	}
	return p.Bits() < 19
}
