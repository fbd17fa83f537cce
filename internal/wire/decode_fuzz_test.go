package wire_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
)

// fuzzLimits are small enough for a fuzzer to reach all of them.
func fuzzLimits() wire.Limits {
	return wire.Limits{EntryBytes: 4096, Attributes: 12, Depth: 3, StringBytes: 32, Values: 64}
}

func FuzzDecodeFlat(f *testing.F) {
	f.Add("auth.login.failed", "source.address", "203.0.113.9", "user.name", "eve")
	f.Add("model.update", "changed_fields", `["email","role"]`, "actor", `{"id":7}`)
	f.Add("x", "data", `{"event_type":"y"}`, "event_id", "e")
	f.Add("", "event", `{"event_name":"y","attributes":{"a":[[[1]]]}}`, "payload", "[")
	f.Fuzz(func(t *testing.T, typ, name, value, name2, value2 string) {
		fuzzDecode(t, []string{"event_type", typ, name, value, name2, value2})
	})
}

func FuzzDecodeJSON(f *testing.F) {
	for _, doc := range fuzzDocuments() {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		fuzzDecode(t, []string{"event", doc})
	})
}

func fuzzDocuments() []string {
	return []string{
		`{"event_type":"x","user":{"id":"7","name":null},"n":[1,2.50,-3e+9,true,{}]}`,
		`{"event_name":"x","timestamp":1767225600000000000,"attributes":{"source.address":"::1","srcip":""},"trace_id":"0a","span_id":"0b"}`,
		`{"eventName":"x","attributes":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"intValue":"1"}}]}}}]}`,
		`{"event_type":"x","attributes":{"a":1},"path":"/\u00e9\ud83d\ude00\ud800"}`,
		`{"event_type":"x","a":[[[[1]]]],"a":1}`,
	}
}

// fuzzDecode decodes one entry twice and checks what holds of every outcome.
func fuzzDecode(t *testing.T, fields []string) {
	t.Helper()
	limits := fuzzLimits()
	d := wire.NewDecoder(wire.DecoderOptions{
		Limits: limits, IPv6Prefix: 64, OwnTime: true,
		Scopes: []wire.ScopeSpec{{Name: "tenant", Attributes: []string{"tenant.id", "a"}}},
	})
	e, err := d.Decode("s", entryID, fields)
	again, err2 := d.Decode("s", entryID, fields)
	if !reflect.DeepEqual(e, again) || !reflect.DeepEqual(err, err2) {
		t.Fatalf("not the same twice: %+v, %v; %+v, %v", e, err, again, err2)
	}
	if err != nil {
		if m := (*wire.Malformed)(nil); !errors.As(err, &m) || m.Class == "" || m.Class == wire.BadID {
			t.Fatalf("error %#v", err)
		}
		return
	}
	checkEvent(t, &e, limits)
}

// alwaysKept is how many attributes are kept besides: the well-known ones, and
// wardstream.truncated.
const alwaysKept = 60

// aliases is how many canonical attributes can be added to those published.
const aliases = 10

func checkEvent(t *testing.T, e *event.Event, l wire.Limits) {
	t.Helper()
	if strings.TrimSpace(e.Type) == "" || e.Member == "" || e.Time.IsZero() {
		t.Errorf("type %q, member %q, time %v", e.Type, e.Member, e.Time)
	}
	if len(e.Attrs) > l.Attributes+len(recordNames)+aliases+alwaysKept {
		t.Errorf("%d attributes", len(e.Attrs))
	}
	seen := map[string]bool{}
	for _, a := range e.Attrs {
		if seen[a.Name] || a.Any() == nil {
			t.Errorf("attribute %q: twice %v, value %v", a.Name, seen[a.Name], a.Any())
		}
		seen[a.Name] = true
		checkName(t, a.Name, l)
		checkValue(t, a.Any(), l, l.Depth)
	}
	for i, s := range e.Scopes {
		checkName(t, s.Value, wire.Limits{StringBytes: 4096})
		if s.Type == "" || s.Value == "" || strings.TrimSpace(s.Value) != s.Value || len(e.Scopes[i:]) > 6 {
			t.Errorf("scopes %q", e.Scopes)
		}
	}
}

var recordNames = []string{
	"timestamp", "observed_timestamp", "severity_text", "severity_number", "event_name", "body", "resource", "schema_version",
	"instrumentation_scope", "trace_id", "span_id", "trace_flags", "dropped_attributes_count", "schema_url",
}

func checkName(t *testing.T, s string, l wire.Limits) {
	t.Helper()
	if !utf8.ValidString(s) || strings.Contains(s, "\x00") || len(s) > l.StringBytes && !strings.Contains(s, ":") {
		t.Errorf("text %q", s)
	}
}

func checkValue(t *testing.T, v any, l wire.Limits, depth int) {
	t.Helper()
	if depth < 0 {
		t.Errorf("%v is too deep", v)
	}
	switch v := v.(type) {
	case nil, bool:
	case string:
		checkName(t, v, l)
	case event.Number:
		if !json.Valid([]byte(v)) || len(v) > l.StringBytes {
			t.Errorf("number %q", v)
		}
	case map[string]any:
		for name, item := range v {
			checkName(t, name, l)
			checkValue(t, item, l, depth-1)
		}
	case []any:
		for _, item := range v {
			checkValue(t, item, l, depth-1)
		}
	default:
		t.Errorf("value of type %T", v)
	}
}

// FuzzDecodeDifferential holds the decoder against encoding/json: what one
// takes for JSON the other does too, and the values are the same.
func FuzzDecodeDifferential(f *testing.F) {
	for _, doc := range fuzzDocuments() {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		if !strings.HasPrefix(doc, "{") || !utf8.ValidString(doc) || strings.Contains(doc, "\x00") {
			return
		}
		d := wire.NewDecoder(wire.DecoderOptions{Limits: wire.Limits{StringBytes: 1 << 20, Depth: 5000, Attributes: 1 << 20, Values: 1 << 20}})
		e, err := d.Decode("s", entryID, []string{"event", doc, "event_type", "t"})
		if m := (*wire.Malformed)(nil); errors.As(err, &m) {
			if m.Class == wire.NotJSON && json.Valid([]byte(doc)) {
				t.Fatalf("refused JSON %s: %v", doc, err)
			}
			return
		}
		var want map[string]any
		std := json.NewDecoder(strings.NewReader(doc))
		std.UseNumber()
		if e.Truncated { // repaired, or one of two values was taken: TestDecodeRepairs, TestDecodeMalformedPartKeepsEvent
			return
		}
		if err := std.Decode(&want); err != nil || !json.Valid([]byte(doc)) {
			t.Fatalf("took %s for JSON: %v", doc, err)
		}
		if _, nested := want["attributes"]; !nested {
			checkSame(t, &e, want)
		}
	})
}

// checkSame compares an event's attributes with the members of the object it was decoded
// from, but for those that Canonicalize fills.
func checkSame(t *testing.T, e *event.Event, want map[string]any) {
	t.Helper()
	for name, w := range want {
		got, ok := event.Find(e.Attrs, name)
		switch {
		case w == nil || w == "" || name == "request.body" || name == "body" || name == "changed_fields" || name == "request":
		case !ok:
			t.Fatalf("%q is gone", name)
		case !reflect.DeepEqual(plainJSON(got), w):
			t.Fatalf("%q = %#v, want %#v", name, got, w)
		}
	}
	if len(e.Attrs) > len(want)+aliases+1 {
		t.Fatalf("%d attributes of %d members", len(e.Attrs), len(want))
	}
}

// plainJSON is v as encoding/json would have decoded it.
func plainJSON(v any) any {
	switch v := v.(type) {
	case event.Number:
		return json.Number(v)
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, item := range v {
			m[name] = plainJSON(item)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = plainJSON(v[i])
		}
		return l
	}
	return v
}
