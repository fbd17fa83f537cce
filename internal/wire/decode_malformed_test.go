package wire_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/wire"
)

func nest(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

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
		"a whole OTLP document":         {event(`{"resourceLogs":[]}`), wire.NoEventType},
		"two candidates":                {[]string{"data", `{"event_type":"x"}`, "payload", `{"event_type":"x"}`}, wire.NoEventType},
		"list for a document":           {event(`[{"event_type":"x"}]`), wire.NotObject},
		"string for a document":         {[]string{"payload", `"x"`}, wire.NotObject},
		"text for a document":           {[]string{"data", "event_type=x"}, wire.NotJSON},
		"truncated document":            {event(`{"event_type":"x"`), wire.NotJSON},
		"trailing text":                 {event(`{"event_type":"x"} {}`), wire.NotJSON},
		"trailing comma":                {event(`{"event_type":"x",}`), wire.NotJSON},
		"comment":                       {event(`{"event_type":"x"/**/}`), wire.NotJSON},
		"single quotes":                 {event(`{'event_type':'x'}`), wire.NotJSON},
		"control character in a string": {event("{\"event_type\":\"x\ny\"}"), wire.NotJSON},
		"bad escape":                    {event(`{"event_type":"\x41"}`), wire.NotJSON},
		"bad number":                    {event(`{"event_type":"x","n":01}`), wire.NotJSON},
		"NaN":                           {event(`{"event_type":"x","n":NaN}`), wire.NotJSON},
		"byte order mark":               {event("\ufeff" + `{"event_type":"x"}`), wire.NotJSON},
		"event beats a type of its own": {typed("event", "{"), wire.NotJSON},
		"name twice":                    {typed("a", "1", "a", "1"), wire.Duplicate},
		"document twice":                {append(event(`{"event_type":"x"}`), event(`{"event_type":"y"}`)...), wire.Duplicate},
		"member twice":                  {event(`{"event_type":"x","event_type":"y"}`), wire.Duplicate},
		"member twice, once escaped":    {event(`{"event_type":"x","user.id":"1","user\u002eid":"2"}`), wire.Duplicate},
		"nested member twice":           {event(`{"event_type":"x","user":{"id":"1","id":"2"}}`), wire.Duplicate},
		"member twice in a flat field":  {typed("a", `{"b":1,"b":2}`), wire.Duplicate},
		"attributes twice":              {event(`{"event_name":"x","attributes":{},"attributes":{"a":1}}`), wire.Duplicate},
		"attributes twice, first text":  {event(`{"event_name":"x","attributes":"t","attributes":{"a":1}}`), wire.Duplicate},
		"attributes twice, last text":   {event(`{"event_name":"x","attributes":{"a":1},"attributes":"t"}`), wire.Duplicate},
		"OTLP key twice":                {event(`{"event_name":"x","attributes":[{"key":"a","value":{}},{"key":"a","value":{}}]}`), wire.Duplicate},
		"OTLP nested key twice":         {event(`{"event_name":"x","attributes":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b"},{"key":"b"}]}}}]}`), wire.Duplicate},
		"list that is no OTLP":          {event(`{"event_name":"x","attributes":["a"]}`), wire.BadAttributes},
		"OTLP without key":              {event(`{"event_name":"x","attributes":[{"value":{"stringValue":"x"}}]}`), wire.BadAttributes},
		"OTLP of two kinds":             {event(`{"event_name":"x","attributes":[{"key":"a","value":{"stringValue":"x","intValue":"1"}}]}`), wire.BadAttributes},
		"OTLP of no kind":               {event(`{"event_name":"x","attributes":[{"key":"a","value":{"value":"x"}}]}`), wire.BadAttributes},
		"OTLP list unwrapped":           {event(`{"event_name":"x","attributes":[{"key":"a","value":["x"]}]}`), wire.BadAttributes},
		"OTLP values no list":           {event(`{"event_name":"x","attributes":[{"key":"a","value":{"arrayValue":{"values":1}}}]}`), wire.BadAttributes},
		"NUL in a value":                {typed("a", "b\x00c"), wire.NUL},
		"NUL in a name":                 {typed("a\x00", "b"), wire.NUL},
		"escaped NUL":                   {event(`{"event_type":"x","a":"b\u0000"}`), wire.NUL},
		"escaped NUL in a name":         {event(`{"event_type":"x","a\u0000":"b"}`), wire.NUL},
		"nested NUL":                    {event(`{"event_type":"x","a":{"b":["\u0000"]}}`), wire.NUL},
		"NUL in a flat field's JSON":    {typed("a", `["\u0000"]`), wire.NUL},
		"Latin-1":                       {typed("a", "caf\xe9"), wire.NotUTF8},
		"Latin-1 name":                  {typed("caf\xe9", "a"), wire.NotUTF8},
		"Latin-1 in JSON":               {event("{\"event_type\":\"x\",\"a\":\"caf\xe9\"}"), wire.NotUTF8},
		"surrogates in UTF-8":           {typed("a", "\xed\xa0\x80"), wire.NotUTF8},
		"deep flat field":               {typed("a", nest(9)), wire.TooDeep},
		"deepest flat field":            {typed("a", nest(8)), ""},
		"deep member":                   {event(`{"event_type":"x","a":` + nest(9) + `}`), wire.TooDeep},
		"deepest member":                {event(`{"event_type":"x","a":` + nest(8) + `}`), ""},
		"deep attribute":                {event(`{"event_name":"x","attributes":{"a":` + nest(9) + `}}`), wire.TooDeep},
		"deepest attribute":             {event(`{"event_name":"x","attributes":{"a":` + nest(8) + `}}`), ""},
		"deep plain attributes":         {event(`{"event_type":"x","y":1,"attributes":{"a":` + nest(8) + `}}`), wire.TooDeep},
		"deepest plain attributes":      {event(`{"event_type":"x","y":1,"attributes":{"a":` + nest(7) + `}}`), ""},
		"deep OTLP attribute":           {event(`{"event_name":"x","attributes":[{"key":"a","value":` + otlpNest(9) + `}]}`), wire.TooDeep},
		"deepest OTLP attribute":        {event(`{"event_name":"x","attributes":[{"key":"a","value":` + otlpNest(8) + `}]}`), ""},
		"bomb":                          {event(`{"event_type":"x","a":` + nest(100_000) + `}`), wire.TooDeep},
		"bomb of objects":               {event(`{"event_type":"x","a":` + strings.Repeat(`{"a":`, 40_000)), wire.TooDeep},
		"bomb in a flat field":          {typed("a", nest(100_000)), wire.TooDeep},
		"bomb in OTLP":                  {event(`{"event_name":"x","attributes":` + nest(100_000) + `}`), wire.TooDeep},
		"brackets that are no JSON":     {typed("a", strings.Repeat("[", 20)+" hello"), ""},
		"deep but broken flat field":    {typed("a", nest(20)+"x"), ""},
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

// otlpNest is an OTLP value of n lists within one another.
func otlpNest(n int) string {
	return strings.Repeat(`{"arrayValue":{"values":[`, n-1) + `{"arrayValue":{"values":[]}}` + strings.Repeat(`]}}`, n-1)
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

func TestDecodeCountsAttributes(t *testing.T) {
	t.Parallel()
	flat := func(n int) []string {
		fields := []string{"event_type", "x"}
		for i := 1; i < n; i++ {
			fields = append(fields, fmt.Sprintf("a%d", i), "v")
		}
		return fields
	}
	plain := func(n int) string {
		doc := `{"event_type":"x"`
		for i := 1; i < n; i++ {
			doc += fmt.Sprintf(`,"a%d":null`, i)
		}
		return doc + "}"
	}
	record := func(n int) string { return `{"event_name":"x","body":"b","resource":{},"attributes":` + plain(n) + `}` }
	otlp := func(n int) string {
		doc := `{"event_name":"x","body":"b","attributes":[{"key":"a0"}`
		for i := 1; i < n; i++ {
			doc += fmt.Sprintf(`,{"key":"a%d","value":{"intValue":"1"}}`, i)
		}
		return doc + "]}"
	}
	for name, fields := range map[string]func(int) []string{
		"flat":   flat,
		"plain":  func(n int) []string { return []string{"event", plain(n)} },
		"record": func(n int) []string { return []string{"event", record(n)} },
		"otlp":   func(n int) []string { return []string{"event", otlp(n)} },
		"both":   func(n int) []string { return append([]string{"event", plain(2)}, flat(n)...) },
	} {
		if got := class(t, wire.DecoderOptions{}, entryID, fields(128)...); got != "" {
			t.Errorf("%s with 128 attributes: %s", name, got)
		}
		if got := class(t, wire.DecoderOptions{}, entryID, fields(129)...); got != wire.TooMany {
			t.Errorf("%s with 129 attributes: class %q", name, got)
		}
	}
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	small := wire.DecoderOptions{Limits: wire.Limits{Values: 20}}
	for n, want := range map[int]string{18: "", 19: wire.TooMany} {
		if got := class(t, small, entryID, "event_type", "x", "a", list(n)); got != want {
			t.Errorf("a list of %d values: class %q, want %q", n, got, want)
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

func TestDecodeEntrySize(t *testing.T) {
	t.Parallel()
	text := func(n int) []string { return []string{"event_type", "x", "a", strings.Repeat("v", n-12)} }
	for n, want := range map[int]string{262144: "", 262145: wire.Oversized} {
		if got := class(t, wire.DecoderOptions{}, entryID, text(n)...); got != want {
			t.Errorf("an entry of %d bytes: class %q, want %q", n, got, want)
		}
	}
	if got := class(t, wire.DecoderOptions{Limits: wire.Limits{EntryBytes: 20}}, entryID, text(21)...); got != wire.Oversized {
		t.Errorf("an entry over a smaller limit: class %q", got)
	}
}

func TestDecodeLongText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 4095) + "é" + "y" // é is bytes 4096 and 4097
	for name, e := range map[string][]string{
		"flat":   {"event_type", "t", "a", long},
		"json":   {"event", `{"event_type":"t","a":"` + long + `"}`},
		"nested": {"event", `{"event_type":"t","b":{"c":["` + long + `"]}, "a":"` + long + `"}`},
	} {
		decoded := decode(t, wire.DecoderOptions{}, e...)
		if got := decoded.Text("a"); got != long[:4095] || !utf8.ValidString(got) {
			t.Errorf("%s: %d bytes kept", name, len(got))
		}
	}
	e := decode(t, wire.DecoderOptions{Limits: wire.Limits{StringBytes: 10}}, "event", `{"e":{"f":"12345678901"},"event_type":"t"}`)
	if v, _ := e.Get("e.f"); v != "1234567890" {
		t.Errorf("a nested string kept %v", v)
	}
	for name, doc := range map[string]string{
		"number":      `{"event_type":"t","n":` + strings.Repeat("1", 4097) + `}`,
		"name":        `{"event_type":"t","` + strings.Repeat("n", 4097) + `":1}`,
		"nested name": `{"event_type":"t","a":{"` + strings.Repeat("n", 4097) + `":1}}`,
	} {
		if got := class(t, wire.DecoderOptions{}, entryID, "event", doc); got != wire.Oversized {
			t.Errorf("a long %s: class %q", name, got)
		}
	}
}

// TestDecodeLoneSurrogate: a client can't get its events into the dead-letter
// stream by sending text that only some serializers accept.
func TestDecodeLoneSurrogate(t *testing.T) {
	t.Parallel()
	e := decode(t, wire.DecoderOptions{}, "event", `{"event_type":"x","user.name":"a\ud800b"}`)
	wantText(t, e, "user.name", "a\ufffdb")
}

// TestMalformedSaysNothingOfTheEntry: reasons end up in logs and dead letters.
func TestMalformedSaysNothingOfTheEntry(t *testing.T) {
	t.Parallel()
	d := wire.NewDecoder(wire.DecoderOptions{})
	for _, fields := range [][]string{
		{"event", `{"hunter2":`}, {"hunter2", "hunter2"}, {"event", `{"hunter2":1,"hunter2":1}`}, {"event", "hunter2"},
	} {
		_, err := d.Decode("s", entryID, fields)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", fields, err)
		}
	}
}

// TestMalformedIsDocumented: whoever finds a class in a dead letter or a metric
// finds it in the documentation.
func TestMalformedIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{
		wire.BadAttributes, wire.BadID, wire.Duplicate, wire.Empty, wire.NoEventType, wire.NotJSON, wire.NotObject, wire.NotUTF8, wire.NUL,
		wire.Oversized, wire.TooDeep, wire.TooMany,
	} {
		if !strings.Contains(string(doc), "`"+class+"`") {
			t.Errorf("docs/events.md does not explain %s", class)
		}
	}
}
