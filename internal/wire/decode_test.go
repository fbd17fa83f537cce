package wire_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const entryID = "1767225600123-4"

// decode decodes an entry that must be well-formed.
func decode(t *testing.T, o wire.DecoderOptions, fields ...string) event.Event {
	t.Helper()
	e, err := wire.NewDecoder(o).Decode("audit:events", entryID, fields)
	if err != nil {
		t.Fatalf("decode %q: %v", fields, err)
	}
	return e
}

// class returns the class of a malformed entry, or "" for one that decodes.
func class(t *testing.T, o wire.DecoderOptions, id string, fields ...string) string {
	t.Helper()
	e, err := wire.NewDecoder(o).Decode("audit:events", id, fields)
	if err == nil {
		return ""
	}
	m := (*wire.Malformed)(nil)
	if !errors.As(err, &m) || m.Reason == "" {
		t.Fatalf("error of another kind: %#v", err)
	}
	if e.Type != "" || e.Attrs != nil {
		t.Errorf("an event came with the error: %+v", e)
	}
	return m.Class
}

func wantText(t *testing.T, e event.Event, name, want string) {
	t.Helper()
	if got := e.Text(name); got != want {
		t.Errorf("%s = %q, want %q in %v", name, got, want, e.Attrs)
	}
}

func TestDecodeEnvelope(t *testing.T) {
	t.Parallel()
	e := decode(t, wire.DecoderOptions{}, "event_type", "auth.logout.user", "user.id", "7")
	want := time.Date(2026, 1, 1, 0, 0, 0, 123e6, time.UTC)
	if e.Stream != "audit:events" || e.ID != entryID || e.Type != "auth.logout.user" || !e.Time.Equal(want) || e.Member != entryID {
		t.Errorf("event %+v", e)
	}
}

func TestDecodeFlatValues(t *testing.T) {
	t.Parallel()
	e := decode(t, wire.DecoderOptions{}, "event_type", "model.update",
		"changed_fields", `["email","role"]`, "request", ` {"body":{"n":1.50}} `,
		"bracket", "[not json", "brace", `{"a":1} x`, "number", "42", "true", "true", "empty", "")
	if v, _ := e.Get("changed_fields"); len(v.([]any)) != 2 || v.([]any)[1] != "role" {
		t.Errorf("changed_fields = %#v", v)
	}
	if v, _ := e.Get("request.body.n"); v != event.Number("1.50") {
		t.Errorf("request.body.n = %#v", v)
	}
	for name, want := range map[string]any{"bracket": "[not json", "brace": `{"a":1} x`, "number": "42", "true": "true", "empty": ""} {
		if v, ok := e.Get(name); v != want || !ok {
			t.Errorf("%s = %#v, want %#v", name, v, want)
		}
	}
}

// TestDecodeEncoding pins how the encoding of an entry is recognised: the type that comes
// out says which part of it was taken for the event.
func TestDecodeEncoding(t *testing.T) {
	t.Parallel()
	const object = `{"event_type":"inner","user.id":"inner"}`
	cases := map[string]struct {
		fields    []string
		typ, user string
	}{
		"flat":                               {[]string{"event_type", "outer", "user.id", "outer"}, "outer", "outer"},
		"event":                              {[]string{"event", object}, "inner", "inner"},
		"data":                               {[]string{"data", object}, "inner", "inner"},
		"payload":                            {[]string{"payload", object}, "inner", "inner"},
		"leading blanks":                     {[]string{"event", " \r\n\t" + object + "\n"}, "inner", "inner"},
		"event beside a type of its own":     {[]string{"event_type", "outer", "event", object}, "inner", "inner"},
		"type comes from beside":             {[]string{"event_type", "outer", "event", `{"user.id":"inner"}`}, "outer", "inner"},
		"fields add, never override":         {[]string{"user.id", "outer", "event", object}, "inner", "inner"},
		"fields add":                         {[]string{"user.id", "outer", "event", `{"event_type":"inner"}`}, "inner", "outer"},
		"fields fill nulls":                  {[]string{"user.id", "outer", "event", `{"event_type":"inner","user.id":null}`}, "inner", "outer"},
		"data of a typed entry":              {[]string{"event_type", "outer", "data", object}, "outer", ""},
		"payload of a typed entry":           {[]string{"payload", object, "event_name", "outer"}, "outer", ""},
		"empty type types nothing":           {[]string{"event_type", "", "data", object}, "inner", "inner"},
		"event before data":                  {[]string{"data", `{"event_type":"data"}`, "event", object}, "inner", "inner"},
		"event that is text":                 {[]string{"event_type", "outer", "event", "text", "user.id", "outer"}, "outer", "outer"},
		"event that is a list":               {[]string{"event_type", "outer", "event", "[1]", "user.id", "outer"}, "outer", "outer"},
		"data that is text, payload that is": {[]string{"data", "text", "payload", object}, "inner", "inner"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := decode(t, wire.DecoderOptions{}, c.fields...)
			if e.Type != c.typ || e.Text("user.id") != c.user {
				t.Errorf("type %q, user %q; want %q, %q", e.Type, e.Text("user.id"), c.typ, c.user)
			}
		})
	}
}

// TestDecodePayloadCannotForgeAttributes: what a client sent can't pass for attributes
// of a flat event that carries it along.
func TestDecodePayloadCannotForgeAttributes(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"data", "payload"} {
		e := decode(t, wire.DecoderOptions{}, "event_type", "auth.login.failed", "source.address", "192.0.2.1",
			field, `{"source.address":"198.51.100.9","user.id":"1","event_type":"audit.rule.x"}`)
		if e.Scope("ip") != "192.0.2.1" || e.Scope("user") != "" || e.Type != "auth.login.failed" {
			t.Errorf("%s: %+v", field, e)
		}
		wantText(t, e, field+".event_type", "audit.rule.x")
	}
	e := decode(t, wire.DecoderOptions{}, "event",
		`{"event_type":"model.update","source.address":"192.0.2.1","attributes":{"user.id":"1"}}`)
	if e.Scope("user") != "" {
		t.Errorf("a model's attributes passed for the event's: %+v", e)
	}
	wantText(t, e, "attributes.user.id", "1")
}

func TestDecodeEventType(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"event_type":"a","event_name":"b"}`:                "a",
		`{"event_name":"b"}`:                                 "b",
		`{"eventName":"b"}`:                                  "b",
		`{"event_type":"","event_name":"b"}`:                 "b",
		`{"event_type":" \t","event_name":"b"}`:              "b",
		`{"event_type":null,"event_name":"b"}`:               "b",
		`{"event_type":{"x":1},"event_name":"b"}`:            "b",
		`{"event_type":5}`:                                   "5",
		`{"event_type":true}`:                                "true",
		`{"event_type":" a\r\n"}`:                            "a",
		`{"event_type":"\ufeffa\u0000"}`:                     "a",
		`{"event_type":"\"a\""}`:                             "a",
		`{"event_type":"'a'"}`:                               "a",
		`{"event_type":"b'a'"}`:                              "a",
		`{"event_type":"\u00a0","event_name":"b"}`:           "b",
		`{"event.name":"a"}`:                                 "a",
		`{"event":{"name":"a"}}`:                             "a",
		`{"event_name":"b","attributes":{"event.name":"a"}}`: "b",
		`{"body":"x","attributes":{"event.name":"a"}}`:       "a",

		`{"attributes":[{"key":"otel.event.name","value":{"stringValue":"a"}}]}`:                                                                                             "a",
		`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"scope":{},"logRecords":[{"eventName":"a"}]}]}]}`: "a",
		`{"scope_logs":[{"log_records":[{"attributes":[{"key":"event.name","value":{"stringValue":"a"}}]}]}]}`:                                                               "a",

		`{"event_type":"a","resourceLogs":[{}]}`:                     "a",
		`{"event_name":"b","attributes":{"event_type":"a"}}`:         "a",
		`{"event_type":"a","attributes":{"event_type":"c"}}`:         "c",
		`{"eventName":"b","attributes":[]}`:                          "b",
		`{"event_type":"a","user.id":"7","attributes":{"x":1}}`:      "a",
		`{"event_type":"a","body":"a","attributes":{"user.id":"7"}}`: "a",
	} {
		if e := decode(t, wire.DecoderOptions{}, "event", doc); e.Type != want {
			t.Errorf("type of %s = %q, want %q", doc, e.Type, want)
		}
	}
}

func TestDecodeLogRecord(t *testing.T) {
	t.Parallel()
	maps := `{"timestamp":1767225600000000000,"severity_text":"INFO","severity_number":9,"body":"auth.login.failed",
		"event_name":"auth.login.failed","resource":{"service.name":"shop"},"trace_id":"0af7651916cd43dd8448eb211c80319c",
		"span_id":"b7ad6b7169203331","trace_flags":1,
		"attributes":{"source.address":"192.0.2.1","user.name":"eve","body":"own","changed_fields":["a"],"gone":null}}`
	otlp := `{"timeUnixNano":"1767225600000000000","severityText":"INFO","severityNumber":9,"body":{"stringValue":"x"},
		"eventName":"auth.login.failed","resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"traceId":"0AF7651916CD43DD8448EB211C80319C","spanId":"b7ad6b7169203331","flags":257,
		"attributes":[{"key":"source.address","value":{"stringValue":"192.0.2.1"}},{"key":"user.name","value":{"stringValue":"eve"}},
			{"key":"body","value":{"stringValue":"own"}},{"key":"gone","value":{}},
			{"key":"changed_fields","value":{"arrayValue":{"values":[{"stringValue":"a"}]}}}]}`
	for name, doc := range map[string]string{"maps": maps, "otlp": otlp} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := decode(t, wire.DecoderOptions{}, "event", doc)
			if e.Type != "auth.login.failed" || e.Scope("ip") != "192.0.2.1" || e.Scope("username") != "eve" {
				t.Errorf("event %+v", e)
			}
			if want := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"; e.TraceParent != want {
				t.Errorf("traceparent %q", e.TraceParent)
			}
			for name, want := range map[string]string{
				"severity_text": "INFO", "severity_number": "9", "timestamp": "1767225600000000000",
				"event_name": "auth.login.failed", "resource.service.name": "shop", "body": "own", "gone": "",
			} {
				wantText(t, e, name, want)
			}
			if v, _ := e.Get("changed_fields"); len(v.([]any)) != 1 {
				t.Errorf("changed_fields = %v", v)
			}
		})
	}
}

func TestDecodeOTLPValues(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]any{
		`{"stringValue":"s"}`: "s", `{"string_value":"s"}`: "s", `{"boolValue":true}`: true, `"bare"`: "bare", `7`: event.Number("7"),
		`{"intValue":"42"}`: event.Number("42"), `{"intValue":42}`: event.Number("42"), `{"intValue":"007"}`: event.Number("7"),
		`{"intValue":"-9223372036854775808"}`: event.Number("-9223372036854775808"), `{"intValue":"x"}`: "x",
		`{"doubleValue":1.50}`: event.Number("1.50"), `{"doubleValue":"NaN"}`: "NaN", `{"bytesValue":"AAE="}`: "AAE=",
		`{"kvlistValue":{"values":[{"key":"k","value":{"kvlistValue":{"values":[{"key":"l","value":{"intValue":"1"}}]}}}]}}`: "{}",
		`{"arrayValue":{}}`: "[]", `{"arrayValue":{"values":[{"intValue":"1"},{}]}}`: "[]",
	} {
		doc := `{"event_name":"x","attributes":[{"key":"a","value":` + value + `}]}`
		e := decode(t, wire.DecoderOptions{}, "event", doc)
		v, _ := e.Get("a")
		switch w := v.(type) {
		case map[string]any:
			if want != "{}" || e.Text("a.k.l") != "1" {
				t.Errorf("%s = %v", value, w)
			}
		case []any:
			if want != "[]" {
				t.Errorf("%s = %v", value, w)
			}
		default:
			if v != want {
				t.Errorf("%s = %#v, want %#v", value, v, want)
			}
		}
	}
}

func TestDecodeNullIsAbsent(t *testing.T) {
	t.Parallel()
	e := decode(t, wire.DecoderOptions{}, "event", `{"event_type":"x","a.b":null,"a":{"b":2},"user.id":null,"user_id":"7","n":null}`)
	for _, name := range []string{"a.b", "n"} {
		if v, ok := e.Get(name); ok {
			t.Errorf("%s = %v", name, v)
		}
	}
	if e.Scope("user") != "7" {
		t.Errorf("user = %q: a null hid the raw name", e.Scope("user"))
	}
	for _, a := range e.Attrs {
		if a.Any() == nil {
			t.Errorf("attribute %s is nil", a.Name)
		}
	}
}

func TestDecodeMember(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("m", 300)
	for doc, want := range map[string]string{
		`{"event_type":"x","event_id":"e-1"}`:          "e-1",
		`{"event_type":"x","event_id":17}`:             "17",
		`{"event_type":"x","event_id":" "}`:            entryID,
		`{"event_type":"x","event_id":null}`:           entryID,
		`{"event_type":"x","event_id":["e"]}`:          entryID,
		`{"event_type":"x","event":{"id":"e"}}`:        entryID,
		`{"event_type":"x","event_id":"` + long + `"}`: "sha256-88c6e4c1d93376019f71bdb9b6927a58beae8f667295ea67a4dfa01aff0ee558",
	} {
		e := decode(t, wire.DecoderOptions{}, "event", doc)
		if e.Member != want {
			t.Errorf("member of %s = %q, want %q", doc, e.Member, want)
		}
	}
}

func TestDecodeScopes(t *testing.T) {
	t.Parallel()
	custom := []wire.ScopeSpec{{Name: "tenant", Attributes: []string{"tenant.id", "org"}, Block: true}}
	cases := map[string]struct {
		opts wire.DecoderOptions
		doc  string
		want []checker.Scope
	}{
		"all": {doc: `{"event_type":"x","http.route":"/r","session.id":"s","user.name":"eve","user.id":7,"source.address":"192.0.2.1"}`, want: []checker.Scope{
			{Type: "ip", Value: "192.0.2.1"},
			{Type: "user", Value: "7"},
			{Type: "username", Value: "eve"},
			{Type: "session", Value: "s"},
			{Type: "route", Value: "/r"},
		}},
		"none":                        {doc: `{"event_type":"x"}`},
		"a name is not an id":         {doc: `{"event_type":"x","username":"42"}`, want: []checker.Scope{{Type: "username", Value: "42"}}},
		"an id is not a name":         {doc: `{"event_type":"x","actor":{"id":"42"}}`, want: []checker.Scope{{Type: "user", Value: "42"}}},
		"trimmed":                     {doc: `{"event_type":"x","user.id":" 42\t","session.id":"  "}`, want: []checker.Scope{{Type: "user", Value: "42"}}},
		"booleans":                    {doc: `{"event_type":"x","user.id":true}`, want: []checker.Scope{{Type: "user", Value: "true"}}},
		"numbers as written":          {doc: `{"event_type":"x","user.id":42.0}`, want: []checker.Scope{{Type: "user", Value: "42.0"}}},
		"not objects and lists":       {doc: `{"event_type":"x","user.id":{"a":1},"session.id":["s"]}`},
		"no address":                  {doc: `{"event_type":"x","source.address":"localhost"}`},
		"port":                        {doc: `{"event_type":"x","srcip":"192.0.2.1:443"}`, want: []checker.Scope{{Type: "ip", Value: "192.0.2.1"}}},
		"mapped":                      {doc: `{"event_type":"x","srcip":"::ffff:192.0.2.1"}`, want: []checker.Scope{{Type: "ip", Value: "192.0.2.1"}}},
		"zone, case and brackets":     {doc: `{"event_type":"x","srcip":"[2001:DB8::0001%eth0]:443"}`, want: []checker.Scope{{Type: "ip", Value: "2001:db8::1"}}},
		"prefix":                      {opts: wire.DecoderOptions{IPv6Prefix: 64}, doc: `{"event_type":"x","srcip":"2001:db8::1"}`, want: []checker.Scope{{Type: "ip", Value: "2001:db8::/64"}}},
		"prefix leaves IPv4 alone":    {opts: wire.DecoderOptions{IPv6Prefix: 64}, doc: `{"event_type":"x","srcip":"::ffff:192.0.2.1"}`, want: []checker.Scope{{Type: "ip", Value: "192.0.2.1"}}},
		"custom":                      {opts: wire.DecoderOptions{Scopes: custom}, doc: `{"event_type":"x","tenant":{"id":"t"},"org":"o"}`, want: []checker.Scope{{Type: "tenant", Value: "t"}}},
		"custom, first that is there": {opts: wire.DecoderOptions{Scopes: custom}, doc: `{"event_type":"x","tenant.id":" ","org":9}`, want: []checker.Scope{{Type: "tenant", Value: "9"}}},
		"custom, absent":              {opts: wire.DecoderOptions{Scopes: custom}, doc: `{"event_type":"x","tenant.id":{"x":"y"}}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := decode(t, c.opts, "event", c.doc)
			if len(e.Scopes) != len(c.want) {
				t.Fatalf("scopes %v, want %v", e.Scopes, c.want)
			}
			for i := range c.want {
				if e.Scopes[i] != c.want[i] {
					t.Errorf("scopes %v, want %v", e.Scopes, c.want)
				}
			}
		})
	}
}

func TestDecodeOwnTime(t *testing.T) {
	t.Parallel()
	entry := time.UnixMilli(1767225600123).UTC()
	for doc, want := range map[string]time.Time{
		`"timestamp":1767225600123456789`:                       time.Unix(1767225600, 123456789),
		`"timestamp":"1767225600123456789"`:                     time.Unix(1767225600, 123456789),
		`"timeUnixNano":"1767225600123456789"`:                  time.Unix(1767225600, 123456789),
		`"time_unix_nano":1767225600123456789`:                  time.Unix(1767225600, 123456789),
		`"timestamp":1767225600123456`:                          time.Unix(1767225600, 123456000),
		`"timestamp":1767225600123`:                             time.Unix(1767225600, 123000000),
		`"timestamp":1767225600`:                                time.Unix(1767225600, 0),
		`"timestamp":1767225600.5`:                              time.Unix(1767225600, 5e8),
		`"timestamp":"2026-01-01T01:00:00.25+01:00"`:            time.Unix(1767225600, 25e7),
		`"timestamp":"2026-01-01T00:00:00Z"`:                    time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01T00:00:00+0000"`:                time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01T01:00:00.5+0100"`:              time.Unix(1767225600, 5e8),
		`"timestamp":"2026-01-01T00:00:00"`:                     time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01T00:00:00.25"`:                  time.Unix(1767225600, 25e7),
		`"timestamp":"2026-01-01T00:00"`:                        time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01 00:00:00"`:                     time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01 00:00:00,250"`:                 time.Unix(1767225600, 25e7),
		`"timestamp":"2026-01-01 01:00:00.25+01"`:               time.Unix(1767225600, 25e7),
		`"timestamp":"2026-01-01 01:00:00+01:00"`:               time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01 01:00:00 +0100"`:               time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01 00:00:00 UTC"`:                 time.Unix(1767225600, 0),
		`"timestamp":"2026-01-01 01:00:00.25 +0100 CET"`:        time.Unix(1767225600, 25e7),
		`"timestamp":"2026-01-01 00:00:00.25 +0000 UTC m=+0.5"`: time.Unix(1767225600, 25e7),
		`"timestamp":"Thu, 01 Jan 2026 00:00:00 GMT"`:           time.Unix(1767225600, 0),
		`"timestamp":"Thu Jan  1 00:00:00 2026"`:                time.Unix(1767225600, 0),
		`"timestamp":"01/Jan/2026:01:00:00 +0100"`:              time.Unix(1767225600, 0),
		`"timestamp":1767225600123.0`:                           time.Unix(1767225600, 123000000),
		`"timestamp":1767225600123.25`:                          time.Unix(1767225600, 123250000),
		`"timestamp":"1767225600.123456789"`:                    time.Unix(1767225600, 123456789),
		`"timestamp":1.767225600123e12`:                         time.Unix(1767225600, 123000000),
		`"timestamp":1.767225600123456789e18`:                   time.Unix(1767225600, 123456789),
		`"timestamp":1767225600123456789.0`:                     time.Unix(1767225600, 123456789),
		`"timestamp":1767225600123456.5`:                        time.Unix(1767225600, 123456500),
		`"@timestamp":"2026-01-01T00:00:00Z"`:                   time.Unix(1767225600, 0),
		`"ts":1767225600`:                                       time.Unix(1767225600, 0),
		`"timestamp":"","time":"2026-01-01 00:00:00"`:           time.Unix(1767225600, 0),
		`"time":"12ms"`:                                         entry,
		`"timestamp":null`:                                      entry,
		`"observed_timestamp":1700000000000000000`:              entry,
		`"attributes":{},"timestamp":1767225600000000001`:       time.Unix(1767225600, 1),
	} {
		doc = `{"event_name":"x",` + doc + `}`
		if e := decode(t, wire.DecoderOptions{OwnTime: true}, "event", doc); !e.Time.Equal(want) || e.Time.Location() != time.UTC || e.Untimed != (want.Location() == time.UTC) {
			t.Errorf("time of %s = %v, want %v; untimed %v", doc, e.Time, want, e.Untimed)
		}
		if e := decode(t, wire.DecoderOptions{}, "event", doc); !e.Time.Equal(entry) {
			t.Errorf("%s forged the entry's time: %v", doc, e.Time)
		}
	}
}

// TestDecodeMalformedOwnTime: a timestamp that can't be read is not taken for now.
func TestDecodeMalformedOwnTime(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`"yesterday"`, `-1`, `0`, `12345`, `1e400`, `1e-400`, `99999999999999999999999`, `{"ns":1}`, `[1767225600]`, `"2026-01-01"`, `"2026-13-01T00:00:00Z"`,
		`"01/02/2026 00:00:00"`, `"2026-01-01 00:00:00 XYZ"`, `"10000-01-01T00:00:00Z"`, `true`, `"None"`, `"-"`, `"+1.5"`, `"1767225600s"`,
	} {
		doc := `{"event_type":"x","timestamp":` + text + `}`
		if got := class(t, wire.DecoderOptions{OwnTime: true}, entryID, "event", doc); got != wire.BadTime {
			t.Errorf("%s: class %q", text, got)
		}
		if got := class(t, wire.DecoderOptions{}, entryID, "event", doc); got != "" {
			t.Errorf("%s, which nobody asks for: class %q", text, got)
		}
	}
	if got := class(t, wire.DecoderOptions{OwnTime: true}, entryID, "event", `{"event_type":"x","timestamp":1767225600,"timestamp":1767225601}`); got != wire.Duplicate {
		t.Errorf("two timestamps: class %q", got)
	}
}

func TestDecodeTraceParent(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for in, want := range map[string]string{
		good: good, strings.ToUpper(good): good,
		"": "", "x": "", good + "-x": "", good[:54]: "", "01" + good[2:]: "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": "",
		"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01": "", strings.ReplaceAll(good, "-", "_"): "",
	} {
		if e := decode(t, wire.DecoderOptions{}, "event", `{"event_type":"x"}`, "traceparent", in); e.TraceParent != want {
			t.Errorf("traceparent %q = %q, want %q", in, e.TraceParent, want)
		}
	}
	unsampled := decode(t, wire.DecoderOptions{}, "event",
		`{"event_name":"x","attributes":{},"trace_id":"0x0af7651916cd43dd8448eb211c80319c","span_id":"0xb7ad6b7169203331"}`)
	if want := good[:53] + "00"; unsampled.TraceParent != want {
		t.Errorf("traceparent of a record without flags = %q, want %q", unsampled.TraceParent, want)
	}
}

func TestFiltered(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]bool{
		"audit.enforcement.blocked": true, "audit.rule.match": true, "audit.context.x": true, "audit.rule.": true,
		"audit.rule": false, "audit.rules_listing": false, "audit.other": false, "audit.http.request.pre": false,
		"xaudit.rule.match": false, "AUDIT.RULE.MATCH": false, "": false,
	} {
		if wire.Filtered(typ) != want {
			t.Errorf("Filtered(%q) = %v", typ, !want)
		}
	}
}

func TestDecodeConcurrently(t *testing.T) {
	t.Parallel()
	d := wire.NewDecoder(wire.DecoderOptions{})
	done := make(chan error)
	for range 8 {
		go func() {
			var err error
			for i := 0; i < 200 && err == nil; i++ {
				var e event.Event
				e, err = d.Decode("s", entryID, []string{"event", `{"event_type":"x","user":{"id":"7"},"l":[1,2]}`})
				if err == nil && e.Scope("user") != "7" {
					err = errors.New("another event's attributes")
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
