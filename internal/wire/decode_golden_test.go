package wire_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
)

// goldenEntries are entries as producers of every kind write them. The schema's
// tests read the golden file too.
func goldenEntries() [][]string {
	return [][]string{
		{"event_type", "auth.login.failed", "source.address", "203.0.113.9", "user.name", "eve"},
		{"event_type", "auth.login.failed", "srcip", "[2001:DB8::5]:51000", "username", "eve", "session_id", "s-1", "event_id", "e-17"},
		{"event_type", "model.update", "actor.id", "42", "model_label", "auth.user", "changed_fields", `["email","role"]`},
		{"event_type", "http.response.client_error", "client.address", "203.0.113.9", "method", "GET", "path", "/u/17", "route_pattern", "/u/<id>", "status", "404"},
		{"event_type", "audit.http.request.pre", "source.address", "203.0.113.9", "url.path", "/pay", "request.body", `{"amount":"30000.50"}`, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		{"event", `{"schema_version":"1.0","request_id":"632d","event_type":"http.response.success","session.id":"s-1","user.id":"1000","source.address":"164.57.12.190","http.request.method":"GET","http.response.status_code":200,"url.path":"/about/","http.route":"/about/","duration_ns":12381979}`},
		{"event", `{"event_type":"auth.login.success","source":{"address":"::ffff:203.0.113.9"},"actor":{"id":7,"name":"alice"},"mfa":true,"device":null}`},
		{"event", `{"timestamp":1767225600123456789,"severity_text":"INFO","severity_number":9,"body":"auth.logout.user","event_name":"auth.logout.user","attributes":{"user.id":"7","session.id":"s-1"},"resource":{"service.name":"shop"},"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","trace_flags":1}`},
		{"data", `{"timeUnixNano":"1767225600123456789","eventName":"auth.login.failed","attributes":[{"key":"source.address","value":{"stringValue":"203.0.113.9"}},{"key":"attempt","value":{"intValue":"3"}},{"key":"changed_fields","value":{"arrayValue":{"values":[{"stringValue":"email"}]}}}]}`, "event_id", "e-18"},
		{"event_type", "auth.login.failed", "source.address", "203.0.113.9", "payload", `{"source.address":"198.51.100.1","tenant":"t-1"}`},
		{"event", `{"event_type":"x","user.id":"1","user.id":"2"}`},
		{"event_type", "x", "deep", "[[[[[[[[[1]]]]]]]]]"},
		{"source.address", "203.0.113.9"},
	}
}

type goldenAttr struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

type goldenEvent struct {
	Fields      []string     `json:"fields"`
	Malformed   string       `json:"malformed,omitempty"`
	Type        string       `json:"type,omitempty"`
	Time        string       `json:"time,omitempty"`
	Member      string       `json:"member,omitempty"`
	TraceParent string       `json:"traceparent,omitempty"`
	Attrs       []goldenAttr `json:"attrs,omitempty"`
	Nulls       []string     `json:"nulls,omitempty"`
	Scopes      []string     `json:"scopes,omitempty"`
}

func TestDecodeGolden(t *testing.T) {
	t.Parallel()
	d := wire.NewDecoder(wire.DecoderOptions{
		IPv6Prefix: 64, OwnTime: true, Scopes: []wire.ScopeSpec{{Name: "tenant", Attributes: []string{"tenant", "payload.tenant"}}},
	})
	var got []goldenEvent
	for _, fields := range goldenEntries() {
		e, err := d.Decode("audit:events", "1767225600000-0", fields)
		if err != nil {
			got = append(got, goldenEvent{Fields: fields, Malformed: err.Error()})
			continue
		}
		got = append(got, describe(fields, &e))
	}
	goldenJSON(t, "decode.golden.json", got)
}

func describe(fields []string, e *event.Event) goldenEvent {
	g := goldenEvent{
		Fields: fields, Type: e.Type, Time: wire.FormatTime(e.Time), Member: e.Member, TraceParent: e.TraceParent, Nulls: e.Nulls,
	}
	for _, a := range e.Attrs {
		g.Attrs = append(g.Attrs, goldenAttr{a.Name, a.Any()})
	}
	for _, s := range e.Scopes {
		g.Scopes = append(g.Scopes, s.String())
	}
	return g
}

// With -update the golden tests write what they would compare.
var update = flag.Bool("update", false, "write the golden files")

// golden compares got, indented JSON or text, with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test -update writes it anew\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// goldenJSON compares v, as indented JSON.
func goldenJSON(t *testing.T, name string, v any) {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	golden(t, name, buf.Bytes())
}
