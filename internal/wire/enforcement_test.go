package wire_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func enforcements() []wire.Enforcement {
	at := time.Date(2026, 1, 1, 0, 0, 0, 250e6, time.UTC)
	ip := checker.Scope{Type: checker.ScopeIP, Value: "203.0.113.9"}
	id := wire.EnforcementID("1767225600250-0", "brute_force_login", ip.Type, ip.Value)
	return []wire.Enforcement{
		{
			Type: wire.TypeBlockApplied, ID: id, Time: at, Observed: at.Add(7 * time.Millisecond), Scope: ip, Rule: "brute_force_login",
			Severity: 8, Description: "Repeated login failures detected", Action: wire.ActionTemp, TTL: 300, ExpiresAt: at.Add(5 * time.Minute),
			SourceAddress: "203.0.113.9", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		},
		{
			Type: wire.TypeBlockApplied, ID: id, Time: at, Scope: checker.Scope{Type: checker.ScopeUser, Value: "42"},
			Rule: "sensitive_field_change", Action: wire.ActionPermanent, UserID: "42", SessionID: "s-1",
		},
		{
			Type: wire.TypeAlert, ID: id, Time: at, Rule: "resource_enumeration", Severity: 7, Action: wire.ActionAlert, DryRun: true,
			Description: "Many paths under /users/<id>", SourceAddress: "203.0.113.9", SessionID: "s-1", UserID: "42",
		},
		{Type: wire.TypeBlocked, Time: at, Scope: ip, Rule: "brute_force_login", Action: wire.ActionBlocked, StatusCode: 429, Count: 17},
		{Type: wire.TypeBlockRevoked, Time: at, Scope: ip, RevokedBy: "ops", Reason: "it was me"},
		{Type: wire.TypeEvaluationFailed, Observed: at, FailMode: "open", ErrorType: "timeout", Count: 3},
	}
}

func origin() wire.Origin {
	return wire.Origin{Version: "1.2.3", Resource: map[string]string{"service.name": "detector", "host.name": "h"}}
}

// TestEnforcementGolden pins the lines that receivers of enforcement events read.
func TestEnforcementGolden(t *testing.T) {
	t.Parallel()
	var lines []byte
	for _, e := range enforcements() {
		line, err := wire.EncodeEnforcement(e, origin())
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	golden(t, "enforcement.golden.jsonl", lines)
}

// TestEnforcementDocumentationExample: the event that docs/reference/enforcement-events.md shows is
// what is published for a block of 300 s.
func TestEnforcementDocumentationExample(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/reference/enforcement-events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(page), "```json\n")
	shown, _, _ = strings.Cut(shown, "```")
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(shown)); err != nil {
		t.Fatal(err)
	}
	e := enforcements()[0]
	event := wire.Enforcement{
		Type: e.Type, ID: e.ID, Time: e.Time, Observed: e.Observed, Scope: e.Scope, Rule: e.Rule, Action: e.Action, TTL: e.TTL, ExpiresAt: e.ExpiresAt,
	}
	if line, err := wire.EncodeEnforcement(event, wire.Origin{Version: "1.0.0"}); err != nil || string(line) != compact.String() {
		t.Errorf("the page shows\n%s\nbut it is\n%s (%v)", &compact, line, err)
	}
}

func TestEnforcementSeverities(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		wire.TypeAlert: "WARN 13", wire.TypeBlocked: "WARN 13", wire.TypeBlockApplied: "WARN 13",
		wire.TypeBlockRevoked: "INFO 9", wire.TypeEvaluationFailed: "ERROR 17",
	}
	for typ, severity := range want {
		line, err := wire.EncodeEnforcement(wire.Enforcement{Type: typ, Time: time.Unix(1, 0)}, wire.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		text, number, _ := strings.Cut(severity, " ")
		if !strings.Contains(string(line), `"severity_text":"`+text+`","severity_number":`+number+`,`) {
			t.Errorf("%s: %s", typ, line)
		}
		if !strings.Contains(string(line), `"attributes":{"event_type":"`+typ+`","schema_version":"1.0"},"resource":{"service.name":"wardstream"},"instrumentation_scope":{"name":"wardstream"}}`) {
			t.Errorf("what is empty was not left out: %s", line)
		}
	}
}

func TestEnforcementRoundTrip(t *testing.T) {
	t.Parallel()
	for _, e := range enforcements() {
		line, err := wire.EncodeEnforcement(e, origin())
		if err != nil {
			t.Fatal(err)
		}
		got, from, err := wire.DecodeEnforcement(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Observed.IsZero() {
			e.Observed = e.Time
		}
		if e.Time.IsZero() {
			e.Time = e.Observed
		}
		if got != e || !reflect.DeepEqual(from, origin()) {
			t.Errorf("read %+v of %+v\nwritten %+v", got, from, e)
		}
	}
}

// TestEnforcementEventDecodesAndIsSkipped: what we emit is an entry like any other, and
// detection skips it.
func TestEnforcementEventDecodesAndIsSkipped(t *testing.T) {
	t.Parallel()
	for _, e := range enforcements() {
		line, err := wire.EncodeEnforcement(e, origin())
		if err != nil {
			t.Fatal(err)
		}
		got := decode(t, wire.DecoderOptions{}, "event", string(line))
		if got.Type != e.Type || !wire.Filtered(got.Type) || got.TraceParent != e.TraceParent {
			t.Errorf("type %q, traceparent %q of %s", got.Type, got.TraceParent, line)
		}
		wantText(t, got, "enforcement.id", e.ID)
		wantText(t, got, "scope.value", e.Scope.Value)
	}
}

func TestDecodeEnforcementRefuses(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "{", "[]", "null", `{}`, `{"attributes":{"event_type":"auth.login.failed"}}`, `{"timestamp":"x","attributes":{"event_type":"audit.enforcement.alert"}}`,
		`{"attributes":{"event_type":"audit.enforcement.other"}}`,
	} {
		if e, _, err := wire.DecodeEnforcement([]byte(line)); err == nil {
			t.Errorf("%s was read as %+v", line, e)
		}
	}
}

func TestEnforcementID(t *testing.T) {
	t.Parallel()
	id := wire.EnforcementID("1767225600000-0", "brute_force_login", "ip", "203.0.113.9")
	if want := "1031f441c6199428134c7ae4650c2811"; id != want {
		t.Errorf("EnforcementID = %s, want %s: receivers drop repeats by it", id, want)
	}
	others := [][4]string{
		{"1767225600000-1", "brute_force_login", "ip", "203.0.113.9"},
		{"1767225600000-0", "brute_force_logi", "nip", "203.0.113.9"},
		{"1767225600000-0", "brute_force_login", "i", "p203.0.113.9"},
		{"1767225600000-0", "brute_force_login", "ip", ""},
		{"", "", "", ""},
	}
	seen := map[string]bool{id: true}
	for _, o := range others {
		other := wire.EnforcementID(o[0], o[1], o[2], o[3])
		if seen[other] || len(other) != 32 {
			t.Errorf("EnforcementID(%q) = %s", o, other)
		}
		seen[other] = true
	}
}

func FuzzEnforcement(f *testing.F) {
	f.Add("audit.enforcement.alert", "id", int64(1767225600000000000), "user", "a\xffb\n", "rule", 8, "text", 300, true, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("audit.enforcement.block_applied", "", int64(-5), "ip", "::1", "", -1, "<b>\u2028", 0, false, "x")
	f.Fuzz(func(t *testing.T, typ, id string, ns int64, scopeType, scopeValue, rule string, severity int, text string, ttl int, dry bool, trace string) {
		e := wire.Enforcement{
			Type: typ, ID: id, Time: time.Unix(0, ns).UTC(), Scope: checker.Scope{Type: scopeType, Value: scopeValue}, Rule: rule,
			Severity: severity, Description: text, Action: text, TTL: ttl, ExpiresAt: time.Unix(0, ns).UTC(), DryRun: dry, Reason: text, TraceParent: trace,
		}
		line, err := wire.EncodeEnforcement(e, wire.Origin{Version: text})
		if err != nil || !json.Valid(line) || strings.Contains(string(line), "\n") || !utf8.Valid(line) {
			t.Fatalf("%+v is written %q: %v", e, line, err)
		}
		got, from, err := wire.DecodeEnforcement(line)
		if err != nil {
			return
		}
		again, err := wire.EncodeEnforcement(got, from)
		if err != nil {
			t.Fatal(err)
		}
		if same, _, err := wire.DecodeEnforcement(again); err != nil || same != got {
			t.Fatalf("%s\nread and written again is\n%s: %v", line, again, err)
		}
	})
}
