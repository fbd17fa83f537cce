package detector

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A modelEvent is an event of a case: its type and its attributes as they came.
type modelEvent struct {
	typ   string
	attrs map[string]any
}

// event reads an event, or says what is malformed about it.
func (m *vectorModel) event(attributes map[string]json.RawMessage) (e *modelEvent, malformed string) {
	raw, _ := json.Marshal(attributes)
	e = &modelEvent{}
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber()
	_ = numbers.Decode(&e.attrs)
	for _, name := range []string{"event_name", "event_type"} {
		if text := strings.TrimSpace(modelText(e.attrs[name])); text != "" {
			e.typ = text
		}
	}
	if e.typ == "" {
		return nil, "no event type"
	}
	m.entries++
	return e, ""
}

// modelText is a scalar's text as JSON has it.
func modelText(v any) string {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "\ufffd")
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// get is an attribute: the flat name, else the path through objects. Null is absent.
func (e *modelEvent) get(name string) any {
	var in any = e.attrs
	if v, ok := e.attrs[name]; ok {
		return v
	}
	for part := range strings.SplitSeq(name, ".") {
		m, _ := in.(map[string]any)
		in = m[part]
	}
	return in
}

func (e *modelEvent) text(name string) string { return modelText(e.get(name)) }

// slot is the text of a canonical attribute.
func (e *modelEvent) slot(canonical string) string { return modelText(e.slotValue(canonical)) }

// slotValue is a canonical attribute under whichever of its names it came. An
// explicit canonical value wins, whatever it is but absent, null or "".
func (e *modelEvent) slotValue(canonical string) any {
	raw := map[string][]string{
		"source.address": {"srcip", "client.address"}, "user.id": {"user_id", "actor.id"}, "user.name": {"username", "actor.name"},
		"session.id": {"session_id"}, "url.path": {"path"}, "url.full": {"url"}, "http.request.method": {"method"},
		"http.response.status_code": {"status_code", "status"}, "http.route": {"route", "route_pattern"}, "http.route_name": {"route_name"},
	}[canonical]
	if v := e.get(canonical); v != nil && v != "" {
		return v
	}
	for _, name := range raw {
		if e.text(name) != "" {
			return e.get(name)
		}
	}
	return nil
}

func (e *modelEvent) trimmed(canonical string) string { return strings.TrimSpace(e.slot(canonical)) }

// scope is the value of a scope: none of a placeholder, and with a hash of what it was where a NUL
// had to be replaced.
func (e *modelEvent) scope(canonical string) string {
	value := e.trimmed(canonical)
	if value == "0" && canonical != "user.name" {
		return ""
	}
	if was, _ := e.slotValue(canonical).(string); strings.Contains(was, "\x00") {
		return modelReplaced(was)
	}
	return value
}

// modelReplaced is what a value becomes that holds a NUL.
func modelReplaced(value string) string {
	if !strings.Contains(value, "\x00") {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return strings.ReplaceAll(value, "\x00", "\ufffd") + "~sha256-" + hex.EncodeToString(sum[:16])
}

func (e *modelEvent) ip() string { return modelIP(e.slot("source.address")) }

// A modelSighting is something that was counted.
type modelSighting struct {
	at     time.Time
	member string
}

// count adds a member to a window and returns how many different ones lie within
// length of now; an empty member only looks. Counts saturate a little above the threshold.
func (m *vectorModel) count(window, member string, length time.Duration, threshold int) int {
	if member != "" {
		m.seen[window] = append(m.seen[window], modelSighting{m.now, member})
	}
	within := map[string]bool{}
	for _, s := range m.seen[window] {
		if m.now.Sub(s.at) < length {
			within[s.member] = true
		}
	}
	return min(len(within), threshold+8)
}

// said is what a built-in's matches say unless it is configured otherwise.
func said(rule string) modelMatch {
	return map[string]modelMatch{
		"brute_force_login":       {vectorMatch: vectorMatch{Severity: 8, Message: "Repeated login failures detected", Tags: []string{"auth", "bruteforce"}}},
		"login_throttle":          {vectorMatch: vectorMatch{Severity: 8, Decision: "block", Message: "Login temporarily throttled after repeated failures", Tags: []string{"auth", "throttle"}}},
		"repeated_client_error":   {vectorMatch: vectorMatch{Severity: 6, Message: "Repeated HTTP client errors from source IP", Tags: []string{"http", "scan"}}},
		"repeated_route":          {vectorMatch: vectorMatch{Severity: 7, Decision: "temp_block", Message: "Repeated requests to a monitored route", Tags: []string{"http", "route-abuse"}}},
		"request_body_threshold":  {vectorMatch: vectorMatch{Severity: 8, Decision: "block", Message: "Request body numeric threshold exceeded", Tags: []string{"request", "threshold"}}},
		"resource_enumeration":    {vectorMatch: vectorMatch{Severity: 7, Message: "Many distinct resources accessed under one route", Tags: []string{"http", "enumeration"}}},
		"sensitive_field_change":  {vectorMatch: vectorMatch{Severity: 7, Message: "Sensitive model fields were changed", Tags: []string{"model", "sensitive-change"}}},
		"suspicious_proxy_header": {vectorMatch: vectorMatch{Severity: 6, Message: "Proxy headers claimed a different client identity", Tags: []string{"proxy", "spoofing"}}},
		"static_match":            {vectorMatch: vectorMatch{Severity: 5, Message: "static"}},
		"field_probe":             {vectorMatch: vectorMatch{Severity: 1, Message: "probe"}},
	}[rule]
}

// modelParams are a rule's parameters as the library read them.
type modelParams map[string]json.RawMessage

func (p modelParams) text(name, otherwise string) string {
	raw, ok := p[name]
	var text string
	switch {
	case !ok || string(raw) == "null":
		return otherwise
	case json.Unmarshal(raw, &text) == nil:
		return text
	}
	return string(raw)
}

func (p modelParams) number(name string, otherwise int) int {
	f, err := strconv.ParseFloat(p.text(name, ""), 64)
	if err != nil {
		return otherwise
	}
	return max(int(f), 1)
}

func (p modelParams) list(name string, otherwise ...string) (list []string) {
	if raw, ok := p[name]; ok && json.Unmarshal(raw, &list) == nil {
		return list
	}
	return otherwise
}

// on reports whether one of the rule's paths is found in path; none means all.
func (p modelParams) on(path string, otherwise ...string) bool {
	paths := p.list("paths", otherwise...)
	return len(paths) == 0 || slices.ContainsFunc(paths, func(re string) bool { return regexp.MustCompile(re).MatchString(path) })
}

// match is a rule's match of an event, if it has one.
func (m *vectorModel) match(rule string, params modelParams, e *modelEvent, i int) (modelMatch, bool) {
	out := said(rule)
	out.Rule, out.group, out.cooldown = rule, e.ip(), 5*time.Minute
	if raw, ok := params["severity"]; ok {
		_ = json.Unmarshal(raw, &out.Severity)
	}
	out.Message, out.Tags = params.text("message", out.Message), params.list("tags", out.Tags...)
	if decision := params.text("decision", ""); decision != "" {
		out.Decision, out.configured = decision, rule != "static_match"
	}
	var ok bool
	switch rule {
	case "brute_force_login", "login_throttle", "repeated_client_error", "repeated_route", "resource_enumeration":
		ok = m.countingRule(rule, params, e, &out)
	case "request_body_threshold":
		ok = e.bodyThreshold(params, &out)
	case "sensitive_field_change":
		ok = e.fieldChange(params, &out)
	case "suspicious_proxy_header":
		ok = e.proxyHeader(&out)
	case "static_match":
		ok = e.static(params, &out)
	case "field_probe":
		ok = m.probe(e, i, &out)
	}
	return out, ok
}

// countingRule is what the rules that count have in common: a window, a
// threshold, and what the count is called.
func (m *vectorModel) countingRule(rule string, params modelParams, e *modelEvent, out *modelMatch) bool {
	length := time.Duration(params.number("window_seconds", 300)) * time.Second
	ip, path, this := e.ip(), e.slot("url.path"), strconv.Itoa(m.entries)
	out.cooldown = length
	count := func(defaultThreshold int, group, member, called string) bool {
		threshold := params.number("threshold", defaultThreshold)
		bound := threshold
		if rule == "brute_force_login" || rule == "login_throttle" { // one window, as large as both need it
			bound = max(m.c.Config.threshold("brute_force_login"), m.c.Config.threshold("login_throttle"))
		}
		n := m.count(group, member, length, bound)
		out.Metadata = map[string]any{called: n}
		return n >= threshold
	}
	switch {
	case rule == "brute_force_login" && e.typ == "auth.login.success":
		delete(m.seen, "login "+ip)
	case rule == "brute_force_login" && e.typ == "auth.login.failed" && ip != "":
		fires := count(5, "login "+ip, this, "failure_count")
		out.Metadata["username"] = cmp.Or(e.text("actor"), e.slot("user.name"))
		return fires
	case rule == "login_throttle" && e.typ == "audit.http.request.pre" && ip != "" && params.on(path, "/login"):
		length, out.cooldown = m.c.Config.bruteForceWindow(), 5*time.Minute
		return count(5, "login "+ip, "", "failure_count")
	case rule == "repeated_client_error" && e.typ == "http.response.client_error" && ip != "":
		return count(20, "error "+ip, this, "error_count")
	case rule == "repeated_route" && e.typ == "audit.http.request.pre":
		return m.repeatedRoute(params, e, out, count)
	case rule == "resource_enumeration" && strings.HasPrefix(e.typ, "http.response."):
		return m.enumeration(e, out, count)
	}
	return false
}

type modelCount func(defaultThreshold int, group, member, called string) bool

func (m *vectorModel) repeatedRoute(params modelParams, e *modelEvent, out *modelMatch, count modelCount) bool {
	route := strings.TrimSpace(cmp.Or(e.slot("http.route_name"), e.slot("http.route"), e.slot("url.path")))
	if e.ip() == "" || route == "" || !params.on(e.slot("url.path")) {
		return false
	}
	fires := count(10, "route "+e.ip()+" "+route, strconv.Itoa(m.entries), "request_count")
	out.Metadata["route"], out.group = route, e.ip()+" "+route
	if text := params.text("block_ttl", ""); text != "" {
		out.ttl, _ = strconv.Atoi(text)
		out.Metadata["block_ttl"] = out.ttl
	}
	return fires
}

// enumeration counts paths, but not one that is its route, and only by address.
func (m *vectorModel) enumeration(e *modelEvent, out *modelMatch, count modelCount) bool {
	route, path := e.trimmed("http.route"), e.slot("url.path")
	if route == "" || path == "" {
		return false
	}
	group := "paths " + e.ip() + " " + route
	if e.ip() == "" || path == route {
		group = "this one " + strconv.Itoa(m.entries)
	}
	fires := count(20, group, path, "distinct_paths")
	out.Metadata["route"], out.group = route, e.ip()+" "+route
	return fires
}

// threshold is what the case's rule is configured to, 0 if it has no such rule.
func (c *vectorConfig) threshold(rule string) int {
	for _, r := range c.Rules {
		if r.Type == rule {
			return modelParams(r.Params).number("threshold", 5)
		}
	}
	return 0
}

func (c *vectorConfig) bruteForceWindow() time.Duration {
	for _, r := range c.Rules {
		if r.Type == "brute_force_login" {
			return time.Duration(modelParams(r.Params).number("window_seconds", 300)) * time.Second
		}
	}
	return 0
}

func (e *modelEvent) static(params modelParams, out *modelMatch) bool {
	out.Rule, out.cooldown, out.Subject = params.text("name", "static_match"), time.Minute, params.text("subject", "")
	_ = json.Unmarshal(params["metadata"], &out.Metadata)
	out.ttl = metadataSeconds(out.Metadata)
	types := params.list("event_types")
	return types == nil || slices.Contains(types, e.typ)
}

// probe corrects the recorded answer of a probe by what an attribute is here.
func (m *vectorModel) probe(e *modelEvent, i int, out *modelMatch) bool {
	out.Metadata = map[string]any{}
	for _, recorded := range m.c.Expect[i].Matches {
		if recorded.Rule == "field_probe" {
			out.Metadata = maps.Clone(recorded.Metadata)
		}
	}
	for name, canonical := range map[string]string{
		"session_id": "session.id", "source.address": "source.address", "url.path": "url.path", "url.full": "url.full",
		"actor.id": "user.id", "actor.name": "user.name", "request.method": "http.request.method",
	} {
		out.Metadata[name] = e.slot(canonical)
	}
	out.Metadata["source.ip"] = e.slot("source.address")
	if own := e.text("source.ip"); own != "" {
		out.Metadata["source.ip"] = own
	}
	out.Metadata["response.status_code"] = pythonInt(e.slotValue("http.response.status_code"))
	return true
}
