package detector

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A modelMatch is a match, with what its alert and its block depend on besides.
type modelMatch struct {
	vectorMatch

	configured bool // the operator gave the rule this decision
	group      string
	cooldown   time.Duration
	ttl        int // the length of block it asks for, in seconds
}

// A modelConsequence is one block or one alert that a match calls for.
type modelConsequence struct {
	match   modelMatch
	applied vectorApplied
}

// shippedActions are the library's default actions; resource_enumeration's is ours.
func shippedActions() map[string]vectorAction {
	out := map[string]vectorAction{
		"sensitive_field_change": {Action: "persist_block", Scopes: []string{"user", "session"}},
		"resource_enumeration":   {Action: "alert"},
	}
	for _, rule := range []string{
		"brute_force_login", "login_throttle", "repeated_client_error", "repeated_route", "request_body_threshold", "suspicious_proxy_header",
	} {
		out[rule] = vectorAction{Action: "temp_block", Scopes: []string{"ip"}}
	}
	return out
}

// action is the first that speaks of the rule: the operator's action, block
// rule or decision, the rule's default, the match's decision, the default.
func (c *vectorConfig) action(m modelMatch) vectorAction {
	shipped, builtin := shippedActions()[m.Rule]
	configured, said := c.RuleActions[m.Rule]
	known := slices.Contains([]string{"observe", "alert", "temp_block", "persist_block", "block"}, m.Decision)
	ttl, listed := c.BlockRules[m.Rule]
	switch {
	case said && !(builtin && mustJSON(configured) == mustJSON(shipped)):
		return configured
	case listed:
		return vectorAction{Action: "temp_block", TTL: ttl}
	case known && m.configured:
		return vectorAction{Action: m.Decision}
	case builtin && (said || m.Rule == "resource_enumeration" && len(c.RuleActions) > 0):
		return shipped
	case known:
		return vectorAction{Action: m.Decision}
	}
	return vectorAction{Action: c.DefaultAction}
}

// consequences are the blocks and alerts that follow from a match.
func (c *vectorConfig) consequences(e *modelEvent, m modelMatch) (puts, alerts []modelConsequence) {
	a := c.action(m)
	kind := a.Action
	if kind == "block" {
		kind = "temp_block"
		if c.BlockSeverity != nil && m.Severity >= *c.BlockSeverity {
			kind = "persist_block"
		}
	}
	switch kind {
	case "alert":
		return nil, []modelConsequence{{match: m}}
	case "temp_block", "persist_block":
	default:
		return nil, nil
	}
	scopes := a.Scopes
	if len(scopes) == 0 {
		scopes = []string{"ip"}
		if a.Action == "persist_block" {
			scopes = []string{"user", "session"} // an address is never permanent unasked
		}
	}
	for _, typ := range []string{"user", "username", "session", "ip"} {
		value := map[string]string{
			"user": e.scope("user.id"), "username": e.scope("user.name"), "session": e.scope("session.id"), "ip": e.ip(),
		}[typ]
		if value == "" || !slices.Contains(scopes, typ) {
			continue
		}
		applied := vectorApplied{
			ScopeType: typ, ScopeValue: value, Kind: "permanent", StatusCode: a.StatusCode, Message: a.Message, RuleName: m.Rule, Reason: m.Message,
		}
		applied.Metadata, _ = modelScrub(m.Metadata, 0).(map[string]any)
		c.fill(&applied, kind == "temp_block", a, m)
		puts = append(puts, modelConsequence{m, applied})
	}
	return puts, nil
}

// fill gives a block the defaults of what is not set.
func (c *vectorConfig) fill(a *vectorApplied, temporary bool, action vectorAction, m modelMatch) {
	if a.StatusCode == 0 {
		a.StatusCode = c.StatusCode
	}
	if a.Message == "" {
		a.Message = c.Message
	}
	if a.Reason == "" {
		a.Reason = m.Rule
	}
	if !temporary {
		return
	}
	ttl := 300
	for _, seconds := range []int{c.DefaultTTL, m.ttl, action.TTL} {
		if seconds > 0 {
			ttl = seconds
		}
	}
	a.Kind, a.TTL = "temp", &ttl
}

var (
	modelSecret    = regexp.MustCompile(`password|passwd|pwd|passcode|secret|token|apikey|authorization|bearer|jwt|cookie|sessionid|csrf|creditcard|ssn`)
	modelSeparator = regexp.MustCompile(`[^a-z0-9]`)
)

// modelScrub is metadata as it is kept: without secrets, and bounded.
func modelScrub(v any, depth int) any {
	const redacted, truncated = "[REDACTED]", "[TRUNCATED]"
	switch v := v.(type) {
	case map[string]any:
		if depth >= 8 {
			return truncated
		}
		out := map[string]any{}
		for i, k := range slices.Sorted(maps.Keys(v)) {
			switch {
			case i == 100:
				out[truncated] = truncated
				return out
			case modelSecret.MatchString(modelSeparator.ReplaceAllString(strings.ToLower(k), "")):
				out[k] = redacted
			default:
				out[k] = modelScrub(v[k], depth+1)
			}
		}
		return out
	case []any:
		if depth >= 8 {
			return truncated
		}
		var out []any
		for i, item := range v {
			if i == 100 {
				return append(out, truncated)
			}
			out = append(out, modelScrub(item, depth+1))
		}
		return out
	case string:
		if len(v) > 4096 {
			cut := 4096
			for !utf8.RuneStart(v[cut]) {
				cut--
			}
			return v[:cut] + truncated
		}
	case []string:
		return modelScrub(anyList(v), depth)
	}
	return v
}

func anyList(list []string) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// metadataSeconds is the length of block that metadata asks for; one that is
// no number is no opinion.
func metadataSeconds(metadata map[string]any) int {
	for _, key := range []string{"block_ttl", "ttl"} {
		if v, ok := metadata[key]; ok {
			f, _ := strconv.ParseFloat(fmt.Sprint(v), 64)
			return int(f)
		}
	}
	return 0
}
