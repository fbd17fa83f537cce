package detector

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

// rules builds the case's rules in order; where safe, only those that the
// library ran at ingress.
func (r *vectorRun) rules(safe bool) []rules.Rule {
	var specs []rules.Spec
	for _, c := range r.c.Config.Rules {
		if slices.Contains(rules.Names(), c.Type) {
			specs = append(specs, rules.Spec{Name: c.Type, Decode: decodeParams(c.Params)})
		}
	}
	built, at, err := rules.Build(specs, 0)
	if err != nil {
		r.t.Fatalf("rule %d: %v", at, err)
	}
	var out []rules.Rule
	for _, c := range r.c.Config.Rules {
		var rule rules.Rule
		switch c.Type {
		case "static_match":
			rule = newStaticMatch(r.t, c.Params)
		case "field_probe":
			rule = newFieldProbe(r.t, c.Params)
		default:
			rule, built = built[0], built[1:]
		}
		if safe && !c.safe() {
			continue
		}
		out = append(out, &recordedRule{rule, r})
	}
	return out
}

// decodeParams translates the library's parameters.
func decodeParams(params map[string]json.RawMessage) func(any) error {
	return func(into any) error {
		ours := map[string]any{}
		for name, raw := range params {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				text = string(raw)
			}
			switch name {
			case "window_seconds":
				ours["window"] = whole(text, 1) + "s"
			case "block_ttl":
				ours["block_ttl"] = text + "s"
			case "safe_for_enforcement":
			case "threshold":
				if _, body := params["field"]; body || strings.HasPrefix(fmt.Sprintf("%T", into), "*rules.requestBody") {
					ours["threshold"] = json.RawMessage(text)
					continue
				}
				ours["threshold"] = json.RawMessage(whole(text, 1))
			default:
				ours[name] = raw
			}
		}
		if fmt.Sprintf("%T", into) == "*rules.bruteForceLoginParams" {
			ours["success_clears"] = "address" // as the library did
		}
		raw, err := json.Marshal(ours)
		if err != nil {
			return fmt.Errorf("translate parameters: %w", err)
		}
		return yaml.UnmarshalWithOptions(raw, into, yaml.Strict())
	}
}

// whole is a number as the library's int() made it, but at least least: what
// is less meant the same there and is refused in our configuration.
func whole(text string, least int) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return strconv.Itoa(max(int(f), least))
}

// recordedRule notes the matches of a rule.
type recordedRule struct {
	rules.Rule
	run *vectorRun
}

func (r *recordedRule) Judge(e *event.Event, counts []int) (rules.Match, bool) {
	m, ok := r.Rule.Judge(e, counts)
	if ok {
		r.run.matches = append(r.run.matches, vectorMatch{
			Rule: m.Rule, Severity: m.Severity, Message: m.Message, Decision: m.Decision, Tags: m.Tags, Metadata: m.Metadata,
			Subject: m.Subject, EventType: e.Type, RequestID: e.Text("request_id"), SessionID: e.Text("session.id"),
			SrcIP: e.Text("source.address"), UserID: e.Text("user.id"),
		})
	}
	return m, ok
}

// staticMatch matches every event of its types.
type staticMatch struct {
	match  rules.Match
	filter rules.EventFilter
}

func newStaticMatch(t *testing.T, params map[string]json.RawMessage) *staticMatch {
	t.Helper()
	p := struct {
		Name       string         `json:"name"`
		Severity   int            `json:"severity"`
		Message    string         `json:"message"`
		Decision   string         `json:"decision"`
		Tags       []string       `json:"tags"`
		Metadata   map[string]any `json:"metadata"`
		Subject    string         `json:"subject"`
		EventTypes []string       `json:"event_types"`
	}{Name: "static_match", Severity: 5, Message: "static"}
	raw, _ := json.Marshal(params)
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	return &staticMatch{
		filter: rules.EventFilter{Any: p.EventTypes == nil, Types: p.EventTypes},
		match: rules.Match{
			Rule: p.Name, Severity: p.Severity, Message: p.Message, Decision: p.Decision, Tags: p.Tags, Metadata: p.Metadata,
			Subject: p.Subject, Cooldown: time.Minute, BlockTTL: time.Duration(metadataSeconds(p.Metadata)) * time.Second,
		},
	}
}

func (s *staticMatch) Name() string                                     { return s.match.Rule }
func (s *staticMatch) Selects(*event.Event) bool                        { return true }
func (s *staticMatch) EventFilter() rules.EventFilter                   { return s.filter }
func (s *staticMatch) Plan(_ *event.Event, ops []window.Op) []window.Op { return ops }
func (s *staticMatch) Judge(e *event.Event, _ []int) (rules.Match, bool) {
	m := s.match
	m.Group = e.Scope(checker.ScopeIP)
	return m, true
}

// fieldProbe matches every event and reports what look-ups find.
type fieldProbe struct{ keys []string }

func newFieldProbe(t *testing.T, params map[string]json.RawMessage) *fieldProbe {
	t.Helper()
	p := &fieldProbe{}
	if raw, ok := params["keys"]; ok {
		if err := json.Unmarshal(raw, &p.keys); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *fieldProbe) Name() string                                     { return "field_probe" }
func (p *fieldProbe) Selects(*event.Event) bool                        { return true }
func (p *fieldProbe) EventFilter() rules.EventFilter                   { return rules.EventFilter{Any: true} }
func (p *fieldProbe) Plan(_ *event.Event, ops []window.Op) []window.Op { return ops }
func (p *fieldProbe) Judge(e *event.Event, _ []int) (rules.Match, bool) {
	fields := map[string]any{}
	for _, key := range p.keys {
		fields[key] = "<default>"
		if v, ok := e.Get(key); ok {
			fields[key] = plainValue(v)
		}
	}
	metadata := map[string]any{"field": fields, "source.ip": e.Text("source.address")}
	for ours, recorded := range map[string]string{
		"request_id": "request_id", "session.id": "session_id", "source.address": "source.address", "url.path": "url.path",
		"url.full": "url.full", "user.id": "actor.id", "user.name": "actor.name", "model_label": "model.label",
		"object_id": "model.object_id", "http.request.method": "request.method",
	} {
		metadata[recorded] = e.Text(ours)
	}
	if ip := e.Text("source.ip"); ip != "" {
		metadata["source.ip"] = ip
	}
	status, _ := e.Get("http.response.status_code")
	metadata["response.status_code"] = pythonInt(plainValue(status))
	metadata["request.body"], _ = e.Get("request.body")
	metadata["proxy.trusted_route"] = e.Text("trusted_route") == "true"
	metadata["proxy.headers"], _ = e.Get("proxy_headers")
	return rules.Match{Rule: "field_probe", Severity: 1, Message: "probe", Metadata: metadata}, true
}

// pythonInt is what the library made of a status code.
func pythonInt(v any) int {
	switch v := v.(type) {
	case string:
		n, _ := strconv.Atoi(strings.TrimSpace(v))
		return n
	case json.Number:
		f, _ := v.Float64()
		return int(f)
	}
	return 0
}

// plainValue is an attribute's value with its numbers as JSON has them.
func plainValue(v any) any {
	switch v := v.(type) {
	case event.Number:
		return json.Number(v)
	case map[string]any:
		out := maps.Clone(v)
		for k := range out {
			out[k] = plainValue(out[k])
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = plainValue(out[i])
		}
		return out
	}
	return v
}
