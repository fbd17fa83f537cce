package detector

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// manualRule is the rule name of blocks by operators.
const manualRule = "manual"

// A vectorModel says a second time, as plainly as can be, what Wardstream makes
// of a case: one event after the other, every window a list that is counted
// anew, no store but a map. Where a template deviates from the recording on
// purpose the model stands for it, whatever values the variant has; everywhere
// else it must agree with the recording, or it would prove nothing.
type vectorModel struct {
	c       *vectorCase
	now     time.Time
	entries int
	seen    map[string][]modelSighting // by rule and group
	blocks  map[checker.Scope]modelBlock
	corrupt map[checker.Scope]bool
	quiet   map[string]time.Time // until when an alert about rule and group holds others back
}

// A modelBlock is a block; one without an end is permanent.
type modelBlock struct {
	rule, message string
	status        int
	begin, end    time.Time
	key           time.Time // when Redis forgets a permanent block that Postgres doesn't have
}

func newVectorModel(c *vectorCase) *vectorModel {
	return &vectorModel{
		c: c, seen: map[string][]modelSighting{}, blocks: map[checker.Scope]modelBlock{},
		corrupt: map[checker.Scope]bool{}, quiet: map[string]time.Time{},
	}
}

// step is what comes of step i.
func (m *vectorModel) step(i int) vectorResult {
	s := &m.c.Events[i]
	m.now = m.c.time(s.At)
	for scope, b := range m.blocks {
		if !b.end.IsZero() && m.now.After(b.end) || !b.key.IsZero() && m.now.After(b.key) {
			delete(m.blocks, scope)
		}
	}
	switch {
	case s.Event != nil:
		return m.publish(s.Event, i, false)
	case s.Pre != nil:
		return m.pre(s.Pre, i)
	case s.Request != nil:
		return m.request(s, i)
	case s.Check != nil:
		return m.check(s.Check)
	case s.Block != nil:
		return m.block(s)
	case s.Unblock != nil:
		return m.unblock(s)
	}
	return m.redis(s.Redis)
}

// publish is what an event leads to; at ingress the library ran its safe rules alone.
func (m *vectorModel) publish(attributes map[string]json.RawMessage, i int, safe bool) vectorResult {
	e, malformed := m.event(attributes)
	if malformed != "" {
		return vectorResult{Error: malformed}
	}
	if regexp.MustCompile(`^audit\.(enforcement|rule|context)\.`).MatchString(e.typ) {
		return vectorResult{}
	}
	var got vectorResult
	var puts, alerts []modelConsequence
	for _, rule := range m.c.Config.Rules {
		if safe && !rule.safe() {
			continue
		}
		match, ok := m.match(rule.Type, rule.Params, e, i)
		if !ok {
			continue
		}
		match.EventType, match.RequestID, match.SessionID = e.typ, e.text("request_id"), e.slot("session.id")
		match.SrcIP, match.UserID = e.slot("source.address"), e.slot("user.id")
		got.Matches = append(got.Matches, match.vectorMatch)
		p, a := m.c.Config.consequences(e, match)
		puts, alerts = append(puts, p...), append(alerts, a...)
	}
	for _, p := range strongest(puts) {
		got.Applied = append(got.Applied, p.applied)
		got.Emitted = append(got.Emitted, m.put(p.applied)...)
	}
	for _, a := range alerts {
		got.Emitted = append(got.Emitted, m.alert(e, a)...)
	}
	return got
}

// strongest leaves one of several blocks of a kind on a scope: the one that ends last, of equals
// the first.
func strongest(puts []modelConsequence) []modelConsequence {
	var out []modelConsequence
	for _, p := range puts {
		i := slices.IndexFunc(out, func(o modelConsequence) bool {
			return o.applied.ScopeType == p.applied.ScopeType && o.applied.ScopeValue == p.applied.ScopeValue && o.applied.Kind == p.applied.Kind
		})
		switch {
		case i < 0:
			out = append(out, p)
		case p.applied.TTL != nil && *p.applied.TTL > *out[i].applied.TTL:
			out[i] = p
		}
	}
	return out
}

// put blocks, unless what is there is stronger, and publishes it if the block
// begins or becomes permanent.
func (m *vectorModel) put(a vectorApplied) []vectorEmitted {
	scope := checker.Scope{Type: a.ScopeType, Value: a.ScopeValue}
	b := modelBlock{rule: a.RuleName, message: a.Message, status: a.StatusCode, begin: m.now}
	attributes := map[string]any{
		"scope.type": a.ScopeType, "scope.value": a.ScopeValue, "security_rule.name": a.RuleName, "enforcement.action": a.Kind,
	}
	if a.TTL != nil {
		b.end = m.now.Add(time.Duration(*a.TTL) * time.Second)
		attributes["enforcement.ttl"], attributes["enforcement.expires_at"] = *a.TTL, modelTime(b.end)
	} else if !m.c.Config.PermanentTier {
		b.key = m.now.Add(time.Duration(m.c.Config.PermanentCacheTTL) * time.Second)
	}
	held, blocked := m.blocks[scope]
	lasting := blocked && held.end.IsZero()
	switch {
	case lasting && (a.TTL != nil || a.RuleName != manualRule), blocked && a.TTL != nil && !b.end.After(held.end):
		return nil
	case lasting, blocked && a.TTL != nil: // the operator's latest word, or a later end
		b.begin = held.begin
		m.blocks[scope] = b
		return nil
	}
	m.blocks[scope] = b
	return []vectorEmitted{modelEmission("block_applied", "WARNING", attributes)}
}

func modelTime(t time.Time) string {
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05+00:00")
	}
	return t.Format("2006-01-02T15:04:05.000000+00:00")
}

func modelEmission(name, level string, attributes map[string]any) vectorEmitted {
	attributes["event_type"], attributes["schema_version"] = "audit.enforcement."+name, "1.0"
	for k, v := range attributes {
		if v == "" || v == 0 {
			delete(attributes, k)
		}
	}
	return vectorEmitted{EventType: "audit.enforcement." + name, Level: level, Attributes: attributes}
}

// alert publishes a match that blocks nothing, once in its cooldown.
func (m *vectorModel) alert(e *modelEvent, a modelConsequence) []vectorEmitted {
	key := a.match.Rule + "\n" + a.match.group
	if until, ok := m.quiet[key]; ok && !m.now.After(until) {
		return nil
	}
	m.quiet[key] = m.now.Add(a.match.cooldown)
	return []vectorEmitted{modelEmission("alert", "WARNING", map[string]any{
		"security_rule.name": a.match.Rule, "security_rule.severity": a.match.Severity, "security_rule.description": a.match.Message,
		"enforcement.action": "alert", "source.address": e.ip(), "session.id": e.trimmed("session.id"), "user.id": e.trimmed("user.id"),
	})}
}

// pre is an event of a request; what it leads to is seen at the next look-up.
func (m *vectorModel) pre(attributes map[string]json.RawMessage, i int) vectorResult {
	event := map[string]json.RawMessage{"event_type": json.RawMessage(`"audit.http.request.pre"`)}
	for k, v := range attributes {
		event[k] = v
	}
	got := m.publish(event, i, true)
	if len(got.Applied) > 0 {
		got.Deny = m.deny("", checker.Scope{Type: got.Applied[0].ScopeType, Value: got.Applied[0].ScopeValue})
	}
	return got
}

// request looks up the client and, if it is not blocked, publishes the event of the request.
func (m *vectorModel) request(s *vectorStep, i int) vectorResult {
	cfg, req := &m.c.Config, s.Request
	event := map[string]json.RawMessage{}
	values := map[string]string{"user_id": req.UserID, "srcip": cfg.client(req.RemoteAddr, req.XFF), "path": req.Path}
	if cfg.EmitSessionID {
		values["session_id"] = req.SessionID
	}
	var scopes []checker.Scope
	for _, typ := range append(slices.Clone(cfg.BlockPrecedence), "user", "session", "ip") {
		name := map[string]string{"user": "user_id", "session": "session_id", "ip": "srcip"}[typ]
		if values[name] != "" {
			scopes = append(scopes, checker.Scope{Type: typ, Value: values[name]})
		}
	}
	if deny := m.deny(req.Path, scopes...); deny != nil || !cfg.EvalSafeOnIngress {
		return vectorResult{Deny: deny}
	}
	for name, value := range values {
		if value != "" {
			event[name], _ = json.Marshal(value)
		}
	}
	return m.pre(event, i)
}

// client is the address that a request comes from.
func (c *vectorConfig) client(remote, forwarded string) string {
	trusted := func(text string) bool {
		addr, err := netip.ParseAddr(modelIP(text))
		return err == nil && slices.ContainsFunc(c.TrustedProxyCIDRs, func(cidr string) bool { return netip.MustParsePrefix(cidr).Contains(addr) })
	}
	var hops []string
	for hop := range strings.SplitSeq(forwarded, ",") {
		if hop = strings.TrimSpace(hop); hop != "" {
			hops = append(hops, hop)
		}
	}
	slices.Reverse(hops)
	n := slices.IndexFunc(hops, func(hop string) bool { return !trusted(hop) }) // the first that is not a proxy
	if c.TrustedProxyCount != nil && *c.TrustedProxyCount > 0 {
		n = *c.TrustedProxyCount - 1
	} else if n < 0 {
		n = len(hops) - 1
	}
	if n < 0 || n >= len(hops) || !trusted(remote) || slices.ContainsFunc(hops[:n], func(hop string) bool { return !trusted(hop) }) || modelIP(hops[n]) == "" {
		return modelIP(remote)
	}
	return modelIP(hops[n])
}

// deny is the answer of the first scope that is blocked. What can't be read is
// a failure, and the path says what a failure means.
func (m *vectorModel) deny(path string, scopes ...checker.Scope) *vectorDeny {
	for _, scope := range scopes {
		if b, ok := m.blocks[scope]; ok && !m.corrupt[scope] {
			return &vectorDeny{b.status, b.message}
		}
	}
	failed := slices.ContainsFunc(scopes, func(s checker.Scope) bool { return m.corrupt[s] })
	for _, pattern := range m.c.Config.FailClosedPaths {
		if failed && regexp.MustCompile(pattern).MatchString(path) {
			return &vectorDeny{m.c.Config.StatusCode, m.c.Config.Message}
		}
	}
	return nil
}

func (m *vectorModel) check(pairs [][2]string) vectorResult {
	for _, p := range pairs {
		scope := modelScope(p[0], p[1])
		if b, ok := m.blocks[scope]; ok {
			return vectorResult{Check: &vectorEntry{p[0], p[1], b.rule, b.status, b.message}}
		}
	}
	return vectorResult{}
}

// modelScope is a scope with its value in the one form it has.
func modelScope(typ, value string) checker.Scope {
	value = strings.TrimSpace(value)
	if typ == "ip" {
		value = modelIP(value)
	}
	return checker.Scope{Type: typ, Value: modelReplaced(value)}
}

// modelIP is the canonical form of an address, "" for what is none.
func modelIP(text string) string {
	text = strings.TrimSpace(text)
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	return addr.Unmap().WithZone("").String()
}

// block is an operator's block.
func (m *vectorModel) block(s *vectorStep) vectorResult {
	scope := modelScope(s.Block.ScopeType, s.Block.scopeValue())
	if scope.Value == "" {
		return vectorResult{Error: "no scope"}
	}
	a := vectorApplied{
		ScopeType: scope.Type, ScopeValue: scope.Value, Kind: "permanent", StatusCode: s.Block.StatusCode, Message: s.Block.Message,
		RuleName: manualRule, Reason: s.Block.Reason, Metadata: map[string]any{},
	}
	for k, v := range s.Block.Metadata {
		a.Metadata[k] = v
	}
	if s.Block.Actor != "" {
		a.Metadata["actor"] = s.Block.Actor
	}
	a.Metadata, _ = modelScrub(a.Metadata, 0).(map[string]any)
	if s.Block.TTL > 0 {
		a.Kind, a.TTL = "temp", &s.Block.TTL
	}
	if a.StatusCode == 0 {
		a.StatusCode = m.c.Config.StatusCode
	}
	if a.Message == "" {
		a.Message = m.c.Config.Message
	}
	return vectorResult{Applied: []vectorApplied{a}, Emitted: m.put(a)}
}

func (m *vectorModel) unblock(s *vectorStep) vectorResult {
	scope, n := modelScope(s.Unblock.ScopeType, s.Unblock.ScopeValue), 0
	if _, ok := m.blocks[scope]; !ok {
		return vectorResult{Count: &n}
	}
	n = 1
	delete(m.blocks, scope)
	return vectorResult{Count: &n, Emitted: []vectorEmitted{modelEmission("block_revoked", "INFO", map[string]any{
		"scope.type": scope.Type, "scope.value": scope.Value, "enforcement.revoked_by": s.Unblock.RevokedBy, "enforcement.reason": s.Unblock.Reason,
	})}}
}

// redis is what a command to Redis itself does to blocks: what Postgres has
// stands, and the library's sentinel is nothing to us.
func (m *vectorModel) redis(command []string) vectorResult {
	kept := func(b modelBlock) bool { return b.end.IsZero() && b.key.IsZero() }
	switch command[0] {
	case "FLUSHALL":
		clear(m.corrupt)
		for scope, b := range m.blocks {
			if !kept(b) {
				delete(m.blocks, scope)
			}
		}
	case "SET", "DEL":
		rest, ours := strings.CutPrefix(command[1], "sec_audit:block:")
		typ, value, _ := strings.Cut(rest, ":")
		scope := checker.Scope{Type: typ, Value: value}
		if !ours {
			break
		}
		m.corrupt[scope] = command[0] == "SET"
		if !kept(m.blocks[scope]) {
			delete(m.blocks, scope)
		}
	default:
		panic(fmt.Sprintf("the model knows no %s", command[0]))
	}
	return vectorResult{}
}

// final is what is blocked at the end: temporary blocks with rule and seconds
// left, as Redis keeps them, and what Postgres has.
func (m *vectorModel) final() (temporary, permanent []string) {
	for scope, b := range m.blocks {
		switch {
		case !b.end.IsZero():
			temporary = append(temporary, fmt.Sprintf("%s %s %.0f", scope, b.rule, b.end.Sub(m.now).Seconds()))
		case !b.key.IsZero():
			temporary = append(temporary, fmt.Sprintf("%s %s %.0f", scope, b.rule, b.key.Sub(m.now).Seconds()))
		default:
			permanent = append(permanent, scope.String())
		}
	}
	return slices.Sorted(slices.Values(temporary)), slices.Sorted(slices.Values(permanent))
}
