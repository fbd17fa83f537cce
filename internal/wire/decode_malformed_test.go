package wire_test

import (
	"os"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/wire"
)

func TestDecodeMalformed(t *testing.T) {
	t.Parallel()
	event := func(doc string) []string { return []string{"event", doc} }
	typed := func(more ...string) []string { return append([]string{"event_type", "x"}, more...) }
	cases := map[string]struct {
		fields []string
		want   string
	}{
		"no fields":                     {nil, wire.Empty},
		"a name without value":          {[]string{"event_type"}, wire.Empty},
		"empty document":                {event(" \n"), wire.Empty},
		"no type":                       {[]string{"user.id", "7"}, wire.NoEventType},
		"empty type":                    {[]string{"event_type", ""}, wire.NoEventType},
		"list for a type":               {[]string{"event_type", "[1]"}, wire.NoEventType},
		"no type in document":           {event(`{"user.id":"7"}`), wire.NoEventType},
		"two candidates":                {[]string{"data", `{"event_type":"x"}`, "payload", `{"event_type":"x"}`}, wire.NoEventType},
		"list for a document":           {event(`[{"event_type":"x"}]`), wire.NotObject},
		"string for a document":         {[]string{"payload", `"x"`}, wire.NotObject},
		"text for a document":           {[]string{"data", "event_type=x"}, wire.NotJSON},
		"truncated document":            {event(`{"event_type":"x"`), wire.NotJSON},
		"trailing text":                 {event(`{"event_type":"x"} {}`), wire.NotJSON},
		"trailing comma":                {event(`{"event_type":"x",}`), wire.NotJSON},
		"comment":                       {event(`{"event_type":"x"/**/}`), wire.NotJSON},
		"single quotes":                 {event(`{'event_type':'x'}`), wire.NotJSON},
		"not a number of JSON":          {event(`{"event_type":"x","n":01}`), wire.NotJSON},
		"words":                         {event(`{"event_type":"x","n":None}`), wire.NotJSON},
		"event beats a type of its own": {typed("event", "{"), wire.NotJSON},
		"document twice":                {append(event(`{"event_type":"x"}`), event(`{"event_type":"y"}`)...), wire.Duplicate},
		"type twice":                    {event(`{"event_type":"x","event_type":"y"}`), wire.Duplicate},
		"type twice, flat":              {typed("event_type", "y"), wire.Duplicate},
		"name twice":                    {event(`{"event_name":"x","event_name":"y"}`), wire.Duplicate},
		"event ID twice":                {typed("event_id", "1", "event_id", "2"), wire.Duplicate},
		"address twice":                 {typed("source.address", "192.0.2.1", "source.address", "192.0.2.2"), wire.Duplicate},
		"raw address twice":             {typed("srcip", "192.0.2.1", "srcip", "192.0.2.2"), wire.Duplicate},
		"user twice, once escaped":      {event(`{"event_type":"x","user.id":"1","user\u002eid":"2"}`), wire.Duplicate},
		"user twice, once null":         {event(`{"event_type":"x","user.id":null,"user.id":"2"}`), wire.Duplicate},
		"nested user twice":             {event(`{"event_type":"x","user":{"id":"1","id":"2"}}`), wire.Duplicate},
		"object of the user twice":      {event(`{"event_type":"x","user":{"id":"1"},"user":{"id":"2"}}`), wire.Duplicate},
		"user twice in a flat field":    {typed("user", `{"id":1,"id":2}`), wire.Duplicate},
		"attributes twice":              {event(`{"event_name":"x","attributes":{},"attributes":{"a":1}}`), wire.Duplicate},
		"attributes twice, first text":  {event(`{"event_name":"x","attributes":"t","attributes":{"a":1}}`), wire.Duplicate},
		"attributes twice, last text":   {event(`{"event_name":"x","attributes":{"a":1},"attributes":"t"}`), wire.Duplicate},
		"attribute of a user twice":     {event(`{"event_name":"x","attributes":{"user.id":"1","user.id":"2"}}`), wire.Duplicate},
		"OTLP key of a user twice":      {event(`{"event_name":"x","attributes":[{"key":"user.id","value":{"stringValue":"1"}},{"key":"user.id","value":{"stringValue":"2"}}]}`), wire.Duplicate},
		"OTLP nested user twice":        {event(`{"event_name":"x","attributes":[{"key":"user","value":{"kvlistValue":{"values":[{"key":"id","value":{"intValue":"1"}},{"key":"id","value":{"intValue":"2"}}]}}}]}`), wire.Duplicate},
		"list that is not OTLP":         {event(`{"event_name":"x","attributes":["a"]}`), wire.BadAttributes},
		"OTLP without key":              {event(`{"event_name":"x","attributes":[{"value":{"stringValue":"x"}}]}`), wire.BadAttributes},
		"OTLP user of two kinds":        {event(`{"event_name":"x","attributes":[{"key":"user.id","value":{"stringValue":"x","intValue":"1"}}]}`), wire.BadAttributes},
		"OTLP user of no kind":          {event(`{"event_name":"x","attributes":[{"key":"user.id","value":{"value":"x"}}]}`), wire.BadAttributes},
		"type of other bytes":           {[]string{"event_type", "\xff\xfe"}, wire.NoEventType},
		"type with a NUL in it":         {event(`{"event_type":"a\u0000b"}`), wire.NoEventType},
		"two log records":               {event(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"x"},{"eventName":"x"}]}]}]}`), wire.Batch},
		"no log record":                 {event(`{"resourceLogs":[]}`), wire.Batch},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := class(t, wire.DecoderOptions{}, entryID, c.fields...); got != c.want {
				t.Errorf("class %q, want %q", got, c.want)
			}
		})
	}
}

func TestDecodeBadID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"0-1": "", "253402300799999-18446744073709551615": "",
		"": wire.BadID, "1": wire.BadID, "1-": wire.BadID, "-1": wire.BadID, "1-1-1": wire.BadID, "a-1": wire.BadID, "+1-1": wire.BadID,
		" 1-1": wire.BadID, "1-1 ": wire.BadID, "253402300800000-0": wire.BadID, "99999999999999999999-0": wire.BadID,
		"1-99999999999999999999": wire.BadID,
	} {
		if got := class(t, wire.DecoderOptions{}, id, "event_type", "x"); got != want {
			t.Errorf("entry ID %q: class %q, want %q", id, got, want)
		}
	}
}

func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	want := wire.Limits{EntryBytes: 262144, Attributes: 128, Depth: 8, StringBytes: 4096, Values: 4096}
	if got := wire.DefaultLimits(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestDecodeEntrySize: an entry of more than four times what is kept is refused, whatever it holds.
func TestDecodeEntrySize(t *testing.T) {
	t.Parallel()
	text := func(n int) []string { return []string{"event_type", "x", "a", strings.Repeat("v", n-12)} }
	for n, want := range map[int]string{262144: "", 262145: "", 4 * 262144: "", 4*262144 + 1: wire.Oversized} {
		if got := class(t, wire.DecoderOptions{}, entryID, text(n)...); got != want {
			t.Errorf("an entry of %d bytes: class %q, want %q", n, got, want)
		}
	}
	if got := class(t, wire.DecoderOptions{Limits: wire.Limits{EntryBytes: 20}}, entryID, text(81)...); got != wire.Oversized {
		t.Errorf("an entry over a smaller limit: class %q", got)
	}
	if got := class(t, wire.DecoderOptions{Limits: wire.Limits{EntryBytes: 15 << 20}}, entryID, text(17<<20)...); got != wire.Oversized {
		t.Errorf("an entry larger than any that is read: class %q", got)
	}
}

// TestMalformedReasonHoldsNoEntryText: reasons end up in logs and dead letters.
func TestMalformedReasonHoldsNoEntryText(t *testing.T) {
	t.Parallel()
	d := wire.NewDecoder(wire.DecoderOptions{})
	for _, fields := range [][]string{
		{"event", `{"hunter2":`},
		{"hunter2", "hunter2"},
		{"event", `{"hunter2":1,"hunter2":1}`},
		{"event", "hunter2"},
		{"event_type", "x", "user.id", "hunter2", "user.id", "Hunter2"},
		{"event", `{"type":"hunter2"}`},
		{"event", `{"data":{"event_type":"hunter2"}}`},
	} {
		_, err := d.Decode("s", entryID, fields)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", fields, err)
		}
	}
}

// TestMalformedReasonsAreDocumented: an operator who finds a class in a dead letter or a metric
// finds it in the documentation.
func TestMalformedReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/reference/dead-letters.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{
		wire.BadAttributes, wire.BadID, wire.BadTime, wire.Batch, wire.Duplicate, wire.Empty, wire.NoEventType, wire.NotJSON, wire.NotObject,
		wire.Oversized,
	} {
		if !strings.Contains(string(doc), "`"+class+"`") {
			t.Errorf("docs/reference/dead-letters.md does not explain %s", class)
		}
	}
}
