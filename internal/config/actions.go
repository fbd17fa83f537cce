package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/spelling"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/pkg/checker"
)

// DecodeYAML reads an action, which may be its name alone.
func (a *Action) DecodeYAML(d *strictconfig.Decoder, n ast.Node, s strictconfig.Setting) {
	if strictconfig.IsScalarNode(n) {
		action := strictconfig.FieldsOf(reflect.TypeFor[Action]())[0]
		d.DecodeScalar(n, strictconfig.Setting{Key: s.Key, V: reflect.ValueOf(&a.Action).Elem(), Tag: action.Tag})
		return
	}
	before := d.Failures()
	d.DecodeStruct(n, s)
	if a.Action == "" && d.Failures() == before {
		d.Refuse(s.Key, "names no action; write action: observe, alert, temp_block, persist_block or block")
	}
}

// takeActions adds the actions that the rules' own entries have to those by rule, and returns their
// keys.
func (v *validator) takeActions() map[string]string {
	keys := map[string]string{}
	for i, r := range v.c.Rules {
		if r.action == nil {
			continue
		}
		key := fmt.Sprintf("rules[%d].action", i)
		if _, twice := v.c.Actions[r.Name]; twice {
			v.Refuse(key, "is in actions.%s as well; keep one of the two", r.Name)
			continue
		}
		if v.c.Actions == nil {
			v.c.Actions = map[string]Action{}
		}
		keys[r.Name], v.c.Actions[r.Name] = key, *r.action
	}
	return keys
}

func (v *validator) checkActions() {
	keys := v.takeActions()
	for _, rule := range slices.Sorted(maps.Keys(v.c.Actions)) {
		key := cmp.Or(keys[rule], "actions."+rule)
		v.checkRuleName(key, rule)
		v.checkScopeList(key+".scopes", v.c.Actions[rule].Scopes)
		v.checkMessage(key+".message", v.c.Actions[rule].Message)
	}
}

func (v *validator) checkBlockRules() {
	for _, rule := range slices.Sorted(maps.Keys(v.c.BlockRules)) {
		v.checkRuleName("block_rules."+rule, rule)
	}
}

// checkRuleName refuses what is said of a rule that doesn't run.
func (v *validator) checkRuleName(key, rule string) {
	if v.listed(rule) {
		return
	}
	names := make([]string, len(v.c.Rules))
	for i, r := range v.c.Rules {
		names[i] = r.Name
	}
	v.Refuse(key, "no rule of that name is listed in rules; list it there or remove this%s", spelling.Suggestion(rule, names))
}

// policy makes the policy of what was checked.
func (v *validator) policy(allowlist *enforce.Allowlist) *enforce.Policy {
	c := v.c
	p := &enforce.Policy{
		DryRun:        c.Mode == "observe",
		Actions:       map[string]enforce.ActionConfig{},
		BlockRules:    maps.Clone(c.BlockRules),
		Defaults:      enforce.BuiltinActions(),
		Fallback:      enforce.Action(c.Blocks.DefaultAction),
		BlockSeverity: c.Blocks.BlockSeverity,
		DefaultTTL:    c.Blocks.DefaultTTL,
		StatusCode:    c.Blocks.StatusCode,
		Message:       c.Blocks.Message,
		Blockable:     v.blockable(),
		Allowlist:     allowlist,
	}
	p.Proxies, _, _ = enforce.NewAllowlist(c.TrustedProxies) // addresses and ranges, as checked
	for _, r := range c.Rules {
		d := rules.DefaultActionOf(r.Type)
		p.Defaults[r.Name] = enforce.ActionConfig{Action: d.Action, Scopes: d.Scopes}
	}
	for rule, a := range c.Actions {
		p.Actions[rule] = enforce.ActionConfig{
			Action: enforce.Action(a.Action), Scopes: a.Scopes, TTL: a.TTL, StatusCode: a.StatusCode, Message: a.Message,
		}
	}
	if e := c.Escalate; e.on() {
		p.Escalate = enforce.NewEscalation(enforce.Escalation{
			Factor: e.Factor, MaxTTL: e.MaxTTL, Memory: e.Memory, PermanentAfter: e.PermanentAfter, PermanentIP: e.PermanentIP,
		})
	}
	return p
}

func (e Escalate) on() bool { return e.Factor > 1 || e.PermanentAfter > 0 }

// permanentOnIP reports whether the action blocks addresses permanently, for
// matches of the severity.
func (a Action) permanentOnIP(severity, blockSeverity int) bool {
	switch enforce.Action(a.Action) {
	case enforce.PersistBlock:
		return slices.Contains(a.Scopes, checker.ScopeIP)
	case enforce.Block:
		permanent := blockSeverity >= 0 && severity >= blockSeverity
		return permanent && slices.Contains(a.Scopes, checker.ScopeIP)
	default:
		return false
	}
}

// unused returns the particulars that have no effect on the action.
func (a Action) unused() []string {
	var out []string
	blocks := a.Action != string(enforce.Observe) && a.Action != string(enforce.Alert)
	for _, p := range []struct {
		key   string
		given bool
		used  bool
	}{
		{"scopes", len(a.Scopes) > 0, blocks},
		{"ttl", a.TTL != time.Duration(0), blocks && a.Action != string(enforce.PersistBlock)},
		{"status_code", a.StatusCode != 0, blocks},
		{"message", a.Message != "", blocks},
	} {
		if p.given && !p.used {
			out = append(out, p.key)
		}
	}
	return out
}
