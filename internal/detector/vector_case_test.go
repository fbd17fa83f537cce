package detector

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A vectorCase is one recorded case of the Python library that Wardstream
// succeeds: a configuration, steps, and what came of each.
type vectorCase struct {
	Name   string         `json:"name"`
	T0     float64        `json:"t0"`
	Config vectorConfig   `json:"config"`
	Events []vectorStep   `json:"events"`
	Expect []vectorResult `json:"expect"`
	Final  struct {
		RedisBlocks []vectorFinal `json:"redis_blocks"`
		Permanent   [][2]string   `json:"permanent"`
	} `json:"final"`
}

// time is the time of a step.
func (c *vectorCase) time(at float64) time.Time {
	return time.UnixMilli(int64(math.Round((c.T0 + at) * 1000))).UTC()
}

// template is the name without the variant.
func (c *vectorCase) template() string {
	parts := strings.SplitN(c.Name, "/", 3)
	return parts[0] + "/" + parts[1]
}

type vectorConfig struct {
	Rules             []vectorRule            `json:"rules"`
	RuleActions       map[string]vectorAction `json:"rule_actions"`
	BlockRules        map[string]int          `json:"block_rules"`
	BlockSeverity     *int                    `json:"block_severity"`
	DefaultTTL        int                     `json:"default_ttl"`
	DefaultAction     string                  `json:"default_action"`
	StatusCode        int                     `json:"status_code"`
	Message           string                  `json:"message"`
	PermanentTier     bool                    `json:"permanent_tier"`
	PermanentCacheTTL int                     `json:"permanent_cache_ttl"`
	FailClosedPaths   []string                `json:"fail_closed_paths"`
	BlockPrecedence   []string                `json:"block_precedence"`
	TrustedProxyCIDRs []string                `json:"trusted_proxy_cidrs"`
	TrustedProxyCount *int                    `json:"trusted_proxy_count"`
	EmitSessionID     bool                    `json:"emit_session_id"`
	EvalSafeOnIngress bool                    `json:"eval_safe_on_ingress"`
}

type vectorRule struct {
	Type   string                     `json:"type"`
	Params map[string]json.RawMessage `json:"params"`
}

// safe reports whether the library ran the rule inside requests, too. The
// built-ins that are not look at other events alone, but for one.
func (r *vectorRule) safe() bool {
	return string(r.Params["safe_for_enforcement"]) == "true" || !slices.Contains([]string{"static_match", "field_probe", "suspicious_proxy_header"}, r.Type)
}

type vectorAction struct {
	Action     string   `json:"action"`
	Scopes     []string `json:"scopes"`
	TTL        int      `json:"ttl"`
	StatusCode int      `json:"status_code"`
	Message    string   `json:"message"`
}

type vectorStep struct {
	At      float64                    `json:"at"`
	Event   map[string]json.RawMessage `json:"event"`
	Pre     map[string]json.RawMessage `json:"pre"`
	Request *struct {
		Path       string `json:"path"`
		RemoteAddr string `json:"remote_addr"`
		XFF        string `json:"xff"`
		UserID     string `json:"user_id"`
		SessionID  string `json:"session_id"`
	} `json:"request"`
	Check   [][2]string  `json:"check"`
	Block   *vectorBlock `json:"block"`
	Unblock *struct {
		ScopeType  string `json:"scope_type"`
		ScopeValue string `json:"scope_value"`
		Reason     string `json:"reason"`
		RevokedBy  string `json:"revoked_by"`
	} `json:"unblock"`
	Redis []string `json:"redis"`
}

type vectorBlock struct {
	ScopeType  string          `json:"scope_type"`
	ScopeValue json.RawMessage `json:"scope_value"`
	TTL        int             `json:"ttl"`
	StatusCode int             `json:"status_code"`
	Message    string          `json:"message"`
	Actor      string          `json:"actor"`
	Reason     string          `json:"reason"`
	Metadata   map[string]any  `json:"metadata"`
}

func (b *vectorBlock) scopeValue() string {
	var value string
	if json.Unmarshal(b.ScopeValue, &value) != nil {
		return string(b.ScopeValue)
	}
	return value
}

type vectorResult struct {
	Matches []vectorMatch   `json:"matches"`
	Applied []vectorApplied `json:"applied"`
	Emitted []vectorEmitted `json:"emitted"`
	Deny    *vectorDeny     `json:"deny"`
	Check   *vectorEntry    `json:"check"`
	Count   *int            `json:"count"`
	Error   string          `json:"error"`
}

type vectorMatch struct {
	Rule      string         `json:"rule"`
	Severity  int            `json:"severity"`
	Message   string         `json:"message"`
	Decision  string         `json:"decision"`
	Tags      []string       `json:"tags"`
	Metadata  map[string]any `json:"metadata"`
	Subject   string         `json:"subject"`
	EventType string         `json:"event_type"`
	RequestID string         `json:"request_id"`
	SessionID string         `json:"session_id"`
	SrcIP     string         `json:"srcip"`
	UserID    string         `json:"user_id"`
}

type vectorApplied struct {
	ScopeType  string         `json:"scope_type"`
	ScopeValue string         `json:"scope_value"`
	Kind       string         `json:"kind"`
	TTL        *int           `json:"ttl"`
	StatusCode int            `json:"status_code"`
	Message    string         `json:"message"`
	RuleName   string         `json:"rule_name"`
	Reason     string         `json:"reason"`
	Metadata   map[string]any `json:"metadata"`
}

type vectorEmitted struct {
	EventType  string         `json:"event_type"`
	Level      string         `json:"level"`
	Attributes map[string]any `json:"attributes"`
}

type vectorDeny struct {
	StatusCode int    `json:"status_code"`
	Message    string `json:"message"`
}

type vectorEntry struct {
	ScopeType  string `json:"scope_type"`
	ScopeValue string `json:"scope_value"`
	RuleName   string `json:"rule_name"`
	StatusCode int    `json:"status_code"`
	Message    string `json:"message"`
}

type vectorFinal struct {
	ScopeType    string  `json:"scope_type"`
	ScopeValue   string  `json:"scope_value"`
	TTLRemaining float64 `json:"ttl_remaining"`
	RuleName     string  `json:"rule_name"`
}

// A deviation says where Wardstream differs from the recorded behaviour on
// purpose: for which template, for which reason, and in what of the results.
type deviation struct {
	Template string `json:"template"`
	// Reason is a number of the agreed list of deviations, or "SPEC" and a section.
	Reason string `json:"reason"`
	Why    string `json:"why"`
	// Instead is what of a result differs: of "matches", "applied", "emitted", "deny",
	// "check", "error" and "final". There the model says what is right, elsewhere the recording.
	Instead []string `json:"instead"`
}

// differs reports whether part of the results is not as recorded.
func (d *deviation) differs(part string) bool {
	return d != nil && slices.Contains(d.Instead, part)
}

func readDeviations(t *testing.T) map[string]*deviation {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(vectorDir, "deviations.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []*deviation
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatalf("read deviations: %v", err)
	}
	byTemplate := map[string]*deviation{}
	for _, d := range list {
		if byTemplate[d.Template] != nil {
			t.Fatalf("%s deviates twice", d.Template)
		}
		byTemplate[d.Template] = d
	}
	return byTemplate
}

const vectorDir = "../../testdata/vectors"

// readVectors reads the cases, of WARDSTREAM_VECTORS if that is set.
func readVectors(t *testing.T) []*vectorCase {
	t.Helper()
	path := os.Getenv("WARDSTREAM_VECTORS")
	if path == "" {
		path = filepath.Join(vectorDir, "vectors.jsonl")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []*vectorCase
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			c := &vectorCase{}
			if err := json.Unmarshal(line, c); err != nil {
				t.Fatalf("read case %d: %v", len(cases)+1, err)
			}
			if len(c.Events) != len(c.Expect) {
				t.Fatalf("%s: %d steps and %d results", c.Name, len(c.Events), len(c.Expect))
			}
			cases = append(cases, c)
		}
		if err != nil {
			return cases
		}
	}
}
