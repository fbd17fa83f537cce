package wire_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
)

func nest(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// otlpNest is an OTLP value of n lists within one another.
func otlpNest(n int) string {
	return strings.Repeat(`{"arrayValue":{"values":[`, n-1) + `{"arrayValue":{"values":[]}}` + strings.Repeat(`]}}`, n-1)
}

// TestDecodeMalformedPartKeepsEvent: whatever is wrong with a part that does not decide, the event
// counts, with its address, and says that something is not as it was published; and what is right
// is not marked.
func TestDecodeMalformedPartKeepsEvent(t *testing.T) {
	t.Parallel()
	const doc = `{"event_type":"x","source.address":"192.0.2.1",`
	event := func(rest string) []string { return []string{"event", doc + rest + "}"} }
	record := func(rest string) []string {
		return []string{"event", `{"event_name":"x","attributes":` + rest + `}`}
	}
	typed := func(more ...string) []string {
		return append([]string{"event_type", "x", "source.address", "192.0.2.1"}, more...)
	}
	const pair = `{"key":"source.address","value":{"stringValue":"192.0.2.1"}},`
	cases := map[string]struct {
		fields []string
		marked bool
	}{
		"nothing wrong, flat":            {typed("a", "b"), false},
		"nothing wrong, JSON":            {event(`"a":"caf\u00e9 \ud83d\ude00 \ufffd","n":null`), false},
		"name twice, same value":         {typed("a", "1", "a", "1"), true},
		"name twice":                     {typed("a", "1", "a", "2"), true},
		"type twice, same value":         {typed("event_type", "x"), true},
		"address twice, same value":      {event(`"source.address":"192.0.2.1"`), true},
		"document twice, the same":       {append(event(`"a":1`), event(`"a":1`)...), true},
		"member twice":                   {event(`"a":1,"a":2`), true},
		"nested member twice":            {event(`"user":{"nick":"1","nick":"2"}`), true},
		"key of a body twice":            {event(`"request.body":{"b":1,"b":2}`), true},
		"key of a flat body twice":       {typed("request.body", `{"b":1,"b":2}`), true},
		"objects that differ":            {event(`"user":{"id":"1","nick":"1"},"user":{"id":"1","nick":"2"}`), true},
		"OTLP key twice":                 {record(`[` + pair + `{"key":"code.function","value":{"stringValue":"f"}},{"key":"code.function","value":{"stringValue":"g"}}]`), true},
		"OTLP nested key twice":          {record(`[` + pair + `{"key":"a","value":{"kvlistValue":{"values":[{"key":"b"},{"key":"b","value":{"intValue":1}}]}}}]`), true},
		"OTLP without key":               {record(`[` + pair + `{"value":{"stringValue":"x"}}]`), true},
		"malformed OTLP":                 {record(`[` + pair + `"a"]`), true},
		"OTLP of two kinds":              {record(`[{"key":"a","value":{"stringValue":"x","intValue":"1"}},` + pair[:len(pair)-1] + `]`), true},
		"OTLP of no kind":                {record(`[` + pair + `{"key":"a","value":{"value":"x"}}]`), true},
		"OTLP list unwrapped":            {record(`[` + pair + `{"key":"a","value":["x"]}]`), true},
		"OTLP values that are not lists": {record(`[` + pair + `{"key":"a","value":{"arrayValue":{"values":1}}}]`), true},
		"deep OTLP value":                {record(`[` + pair + `{"key":"a","value":` + otlpNest(9) + `}]`), true},
		"deepest OTLP value":             {record(`[` + pair + `{"key":"a","value":` + otlpNest(8) + `}]`), false},
		"NUL in a value":                 {typed("a", "b\x00c"), true},
		"NUL in a name":                  {typed("a\x00", "b"), true},
		"escaped NUL":                    {event(`"a":"b\u0000"`), true},
		"escaped NUL in a name":          {event(`"a\u0000":"b"`), true},
		"nested NUL":                     {event(`"a":{"b":["\u0000"]}`), true},
		"NUL in a flat field's JSON":     {typed("a", `["\u0000"]`), true},
		"raw NUL in JSON":                {event("\"a\":\"b\x00\""), true},
		"Latin-1":                        {typed("a", "caf\xe9"), true},
		"Latin-1 name":                   {typed("caf\xe9", "a"), true},
		"Latin-1 in JSON":                {event("\"a\":\"caf\xe9\""), true},
		"Latin-1 member":                 {event("\"caf\xe9\":1"), true},
		"surrogates in UTF-8":            {typed("a", "\xed\xa0\x80"), true},
		"MessagePack beside JSON":        {append([]string{"metadata", "\x82\xa3foo\xc0\xa1b\xcb\x3f"}, "payload", doc+`"a":1}`), true},
		"lone surrogate":                 {event(`"a":"\ud800"`), true},
		"control character in JSON":      {event("\"a\":\"x\ty\x01\""), true},
		"line feed in JSON":              {event("\"a\":\"x\ny\""), true},
		"hexadecimal escape":             {event(`"user_agent":"\x22Mozilla"`), true},
		"unknown escape":                 {event(`"path":"C:\dir"`), true},
		"NaN":                            {event(`"n":NaN`), true},
		"Infinity":                       {event(`"n":[-Infinity,Infinity]`), true},
		"deep flat field":                {typed("a", nest(9)), true},
		"deepest flat field":             {typed("a", nest(8)), false},
		"deep member":                    {event(`"a":` + nest(9)), true},
		"deepest member":                 {event(`"a":` + nest(8)), false},
		"deep attribute":                 {record(`{"a":` + nest(9) + `,"source.address":"192.0.2.1"}`), true},
		"deepest attribute":              {record(`{"a":` + nest(8) + `,"source.address":"192.0.2.1"}`), false},
		"deep plain attributes":          {event(`"attributes":{"a":` + nest(8) + `}`), true},
		"deepest plain attributes":       {event(`"attributes":{"a":` + nest(7) + `}`), false},
		"bomb":                           {event(`"a":` + nest(100_000)), true},
		"bomb before the address":        {[]string{"event", `{"a":` + nest(100_000) + "," + doc[1:] + `"b":1}`}, true},
		"bomb in a flat field":           {typed("a", nest(100_000)), true},
		"bomb in OTLP":                   {record(`[{"key":"a","value":` + nest(100_000) + `},` + pair[:len(pair)-1] + `]`), true},
		"brackets that are not JSON":     {typed("a", strings.Repeat("[", 20)+" hello"), false},
		"deep but broken flat field":     {typed("a", nest(20)+"x"), false},
		"long text":                      {typed("a", strings.Repeat("v", 4097)), true},
		"longest text":                   {typed("a", strings.Repeat("v", 4096)), false},
		"300 KB of text":                 {typed("a", strings.Repeat("v", 300<<10)), true},
		"300 KB of text in JSON":         {event(`"a":"` + strings.Repeat("v", 300<<10) + `"`), true},
		"300 KB of text first":           {[]string{"event", `{"a":"` + strings.Repeat("v", 300<<10) + `",` + doc[1:] + `"b":1}`}, true},
		"300 KB of small text":           {event(`"a":[` + strings.Repeat(`"abcdef",`, 34<<10) + `1]`), true},
		"300 KB of small text first":     {[]string{"event", `{"a":[` + strings.Repeat(`"abcdef",`, 34<<10) + `1],` + doc[1:] + `"b":1}`}, true},
		"300 KB of JSON in a field":      {typed("a", `[`+strings.Repeat(`"abcdef",`, 34<<10)+`1]`), true},
		"many values":                    {event(`"a":[` + strings.Repeat("1,", 5000) + `1]`), true},
		"many values first":              {[]string{"event", `{"a":[` + strings.Repeat("1,", 5000) + `1],` + doc[1:] + `"b":1}`}, true},
		"many values first, nested":      {[]string{"event", `{"a":[` + strings.Repeat("1,", 5000) + `1],"event_type":"x","source":{"address":"192.0.2.1"}}`}, true},
		"many values of a body, OTLP":    {record(`[{"key":"a","value":{"arrayValue":{"values":[` + strings.Repeat(`{"intValue":1},`, 5000) + `{"intValue":1}]}}},` + pair[:len(pair)-1] + `]`), true},
		"long number":                    {event(`"n":` + strings.Repeat("1", 4097)), true},
		"long name":                      {event(`"` + strings.Repeat("n", 4097) + `":1`), true},
		"long nested name":               {event(`"a":{"` + strings.Repeat("n", 4097) + `":1}`), true},
		"long flat name":                 {typed(strings.Repeat("n", 4097), "1"), true},
		"their own mark":                 {typed("wardstream.truncated", "no", "a", "\xff"), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := decode(t, wire.DecoderOptions{}, c.fields...)
			if e.Type != "x" || e.Scope("ip") != "192.0.2.1" {
				t.Errorf("type %q, scopes %v", e.Type, e.Scopes)
			}
			if e.Truncated != c.marked && name != "long number" {
				t.Errorf("marked: %v", e.Truncated)
			}
			v, ok := e.Get("wardstream.truncated")
			if isMarked, _ := v.(bool); c.marked && name != "long number" && !isMarked || !c.marked && ok {
				t.Errorf("wardstream.truncated = %v", v)
			}
			checkEvent(t, &e, wire.DefaultLimits())
		})
	}
}

// TestDecodeKeepsWellKnownAttributes: however much an entry holds, and wherever they stand in it,
// the attributes that say what happened to whom are kept, and the others up to the limit.
func TestDecodeKeepsWellKnownAttributes(t *testing.T) {
	t.Parallel()
	last := []string{"event_type", "x", "source.address", "192.0.2.1", "user.id", "7", "session_id", "s", "tenant", "t", "amount", "5", "event_id", "e"}
	opts := wire.DecoderOptions{
		Scopes:      []wire.ScopeSpec{{Name: "tenant", Attributes: []string{"tenant"}}},
		Comparisons: []wire.Comparison{{Type: "x", Attribute: "amount"}, {Type: "x", Attribute: "order.total"}},
	}
	flat := func(n int) []string {
		var fields []string
		for i := range n {
			fields = append(fields, fmt.Sprintf("field_%d", i), "v")
		}
		return append(fields, last...)
	}
	plain := func(n int) string {
		doc := `{"order":{"total":9}`
		for i := range n {
			doc += fmt.Sprintf(`,"field_%d":1`, i)
		}
		for i := 0; i < len(last); i += 2 {
			doc += fmt.Sprintf(",%q:%q", last[i], last[i+1])
		}
		return doc + "}"
	}
	otlp := func(n int) string {
		doc := `{"body":"b","attributes":[{"key":"a0"}`
		for i := range n {
			doc += fmt.Sprintf(`,{"key":"field_%d","value":{"intValue":"1"}}`, i)
		}
		for i := 0; i < len(last); i += 2 {
			doc += fmt.Sprintf(`,{"key":%q,"value":{"stringValue":%q}}`, last[i], last[i+1])
		}
		return doc + "]}"
	}
	for name, fields := range map[string]func(int) []string{
		"flat":  flat,
		"plain": func(n int) []string { return []string{"event", plain(n)} },
		"record": func(n int) []string {
			return []string{"event", `{"body":"b","resource":{},"attributes":` + plain(n) + `}`}
		},
		"otlp": func(n int) []string { return []string{"event", otlp(n)} },
		"both": func(n int) []string { return append([]string{"event", `{"b":1}`}, flat(n)...) },
	} {
		for _, n := range []int{100, 129, 3000} {
			e := decode(t, opts, fields(n)...)
			if e.Type != "x" || e.Member != "e" || e.Scope("ip") != "192.0.2.1" || e.Scope("user") != "7" || e.Scope("session") != "s" || e.Scope("tenant") != "t" || e.Text("amount") != "5" {
				t.Errorf("%s with %d more: %q, %v, amount %q", name, n, e.Type, e.Scopes, e.Text("amount"))
			}
			if e.Truncated != (n > 100) || len(e.Attrs) > 128+20 {
				t.Errorf("%s with %d more: marked %v, %d attributes", name, n, e.Truncated, len(e.Attrs))
			}
			checkEvent(t, &e, wire.DefaultLimits())
		}
	}
	small := wire.DecoderOptions{Limits: wire.Limits{Values: 20}}
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	for n, marked := range map[int]bool{18: false, 40: true} {
		if e := decode(t, small, "event_type", "x", "a", list(n)); e.Truncated != marked {
			t.Errorf("a list of %d values: marked %v", n, e.Truncated)
		}
	}
}

// TestDecodeAmbiguousComparison: an attribute that a rule compares for this type of event must have
// one value, and may have two for others.
func TestDecodeAmbiguousComparison(t *testing.T) {
	t.Parallel()
	o := wire.DecoderOptions{Comparisons: []wire.Comparison{{Type: "pay", Attribute: "request.body.amount"}, {Attribute: "flag"}}}
	const body = `"request.body":{"amount":1,"amount":20000}`
	for doc, want := range map[string]string{
		`{"event_type":"pay",` + body + `}`:                                            wire.Duplicate,
		`{"event_type":"auth.login.failed",` + body + `}`:                              "",
		`{"event_type":"pay","request":{"body":{"amount":1,"amount":2}}}`:              wire.Duplicate,
		`{"event_type":"pay","request.body":{"amount":1,"amount":1}}`:                  "",
		`{"event_type":"pay","request.body":{"note":1,"note":2}}`:                      "",
		`{"event_type":"pay","request.body":{"amount":1},"request.body":{"amount":2}}`: wire.Duplicate,
		`{"event_type":"pay","request.body":"{\"amount\":1,\"amount\":2}"}`:            wire.Duplicate,
		`{"event_name":"pay","attributes":{` + body + `}}`:                             wire.Duplicate,
		`{"event_type":"pay","x":1,"attributes":{` + body + `}}`:                       wire.Duplicate,
		`{"event_type":"any","flag":1,"flag":2}`:                                       wire.Duplicate,
		`{"event_name":"pay","attributes":[{"key":"request.body","value":{"kvlistValue":{"values":[{"key":"amount","value":{"intValue":1}},{"key":"amount","value":{"intValue":2}}]}}}]}`: wire.Duplicate,
	} {
		if got := class(t, o, entryID, "event", doc); got != want {
			t.Errorf("%s: class %q, want %q", doc, got, want)
		}
	}
	if got := class(t, o, entryID, "event_type", "pay", "request.body", `{"amount":1,"amount":2}`); got != wire.Duplicate {
		t.Errorf("flat: class %q", got)
	}
}

// TestDecodeRepeatedHeaderIsAList: a header's values are a list, and none of them is dropped.
func TestDecodeRepeatedHeaderIsAList(t *testing.T) {
	t.Parallel()
	e := decode(t, wire.DecoderOptions{}, "event", `{"event_type":"x","proxy_headers":{"X-Forwarded-For":"192.0.2.1","X-Forwarded-For":"192.0.2.2","X-Forwarded-For":["192.0.2.3"]}}`)
	v, _ := e.Get("proxy_headers.X-Forwarded-For")
	if list, ok := v.([]any); !ok || len(list) != 3 || list[1] != "192.0.2.2" || e.Truncated {
		t.Errorf("%v, marked %v", v, e.Truncated)
	}
}

// TestDecodeReplacedScopesStayDistinct: what has to be replaced or cut in a scope's value, or in an
// event's ID, makes no two of them one, and none of them another that is what it looks like;
// however it is written, it is one.
func TestDecodeReplacedScopesStayDistinct(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	long := strings.Repeat("n", 5000)
	values := map[string][][]string{
		"\xff":    {{"user.id", "ev\xffe"}, {"event", "{\"event_type\":\"x\",\"user.id\":\"ev\xffe\"}"}, {"event", "{\"event_type\":\"x\",\"user.id\":\"\\u0065v\xffe\"}"}},
		"\xfe":    {{"user.id", "ev\xfee"}},
		"\ufffd":  {{"user.id", "ev\ufffde"}, {"event", `{"event_type":"x","user.id":"ev\ufffde"}`}},
		"NUL":     {{"user.id", "ev\x00e"}, {"event", `{"event_type":"x","user.id":"ev\u0000e"}`}, {"event", "{\"event_type\":\"x\",\"user.id\":\"ev\x00e\"}"}},
		"SOH":     {{"user.id", "ev\x01e"}, {"event", `{"event_type":"x","user.id":"ev\u0001e"}`}, {"event", "{\"event_type\":\"x\",\"user.id\":\"ev\x01e\"}"}},
		"high":    {{"user.id", "ev\xed\xa0\x80e"}, {"event", `{"event_type":"x","user.id":"ev\ud800e"}`}, {"event", `{"event_type":"x","user.id":"ev\uD800e"}`}},
		"low":     {{"event", `{"event_type":"x","user.id":"ev\udc00e"}`}},
		"swapped": {{"event", `{"event_type":"x","user.id":"ev\udc00\ud800e"}`}},
		"long 1":  {{"user.id", long + "1"}, {"event", `{"event_type":"x","user.id":"` + long + `1"}`}},
		"long 2":  {{"user.id", long + "2"}},
		"longest": {{"user.id", strings.Repeat("n", 4096)}},
		"huge":    {{"user.id", strings.Repeat("n", 300<<10)}, {"event", `{"event_type":"x","user.id":"` + strings.Repeat("n", 300<<10) + `"}`}},
	}
	for name, ways := range values {
		for i, fields := range ways {
			e := decode(t, wire.DecoderOptions{Limits: wire.Limits{StringBytes: 100}}, append([]string{"event_type", "x"}, fields...)...)
			value := e.Scope("user")
			if !utf8.ValidString(value) || strings.Contains(value, "\x00") || len(value) > 4096 || value == "" {
				t.Errorf("%s: %q", name, value)
			}
			if other, taken := seen[value]; taken && other != name {
				t.Errorf("%s is %s: %q", name, other, value)
			} else if i > 0 && !taken {
				t.Errorf("%s written in another way is another client: %q", name, value)
			}
			seen[value] = name
		}
	}
	e := decode(t, wire.DecoderOptions{}, "event_type", "x", "user.id", "ev\xffe")
	again := decode(t, wire.DecoderOptions{}, "event_type", "x", "user.id", e.Scope("user"))
	if again.Scope("user") == e.Scope("user") {
		t.Error("a client can choose the name that another's was replaced by")
	}
	wantText(t, e, "user.id", "ev\ufffde")
	ids := map[string]bool{}
	for _, id := range []string{"\xff", "\xfe", "\ufffd", "a\x00", "a", long + "1", long + "2"} {
		ids[decode(t, wire.DecoderOptions{}, "event_type", "x", "event_id", id).Member] = true
	}
	if len(ids) != 7 {
		t.Errorf("event IDs %v", ids)
	}
}

// TestDecodeLongText: what is kept of text that is too long ends with a whole character.
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
}

// TestDecodeLongNumbers: a number of any length is as large as it was, in no more text than is kept
// of a string.
func TestDecodeLongNumbers(t *testing.T) {
	t.Parallel()
	o := wire.DecoderOptions{Limits: wire.Limits{StringBytes: 64}}
	for number, want := range map[string]string{
		"12":                                   "12",
		strings.Repeat("1", 64):                strings.Repeat("1", 64),
		strings.Repeat("1", 65):                strings.Repeat("1", 40) + "e25",
		"-" + strings.Repeat("1", 65):          "-" + strings.Repeat("1", 40) + "e25",
		"0." + strings.Repeat("0", 99):         "0",
		"0." + strings.Repeat("0", 99) + "1":   "1e-100",
		"1e" + strings.Repeat("9", 99):         "1e1000000000000000",
		"1E-" + strings.Repeat("9", 99):        "1e-1000000000000000",
		"1." + strings.Repeat("5", 99) + "e99": "1" + strings.Repeat("5", 39) + "e60",
	} {
		e := decode(t, o, "event", `{"event_type":"x","n":`+number+`}`)
		if v, _ := e.Get("n"); v != event.Number(want) {
			t.Errorf("%s = %v, want %s", number, v, want)
		}
	}
}

// TestDecodeLoneSurrogate: text that only some serialisers accept stays readable.
func TestDecodeLoneSurrogate(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`a\ud800b`: "a\ufffdb", `a\ud83d\ude00b`: "a😀b", `\ufffd\n\"\/\\\b\f\r\t`: "\ufffd\n\"/\\\b\f\r\t", `\ud83d\ude00\u0000`: "😀\ufffd",
		`\ud800\ud83d\ude00`: "\ufffd😀", `\u0000\u00e9`: "\ufffdé",
	} {
		e := decode(t, wire.DecoderOptions{}, "event", `{"event_type":"x","user.name":"`+in+`"}`)
		wantText(t, e, "user.name", want)
	}
}

// TestDecodeRepairs: what serialisers write although it is not JSON is what they meant.
func TestDecodeRepairs(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"\"a\tb\nc\x01\"": "a\tb\nc\x01", `"\x41\x7a"`: "Az", `"C:\dir\u00zz\"`: "", `"C:\dir\u00zz"`: `C:\dir\u00zz`, `"\x4"`: `\x4`,
		`NaN`: "NaN", `-Infinity`: "-Infinity", `"NaN \"Infinity"`: `NaN "Infinity`, "\"\\\\x41\t\"": "\\x41\t", `Nope`: "",
	} {
		fields := []string{"event", `{"event_type":"x","a":` + in + `,"b":"c"}`}
		if want == "" {
			if got := class(t, wire.DecoderOptions{}, entryID, fields...); got != wire.NotJSON {
				t.Errorf("%s: class %q", in, got)
			}
			continue
		}
		e := decode(t, wire.DecoderOptions{}, fields...)
		wantText(t, e, "a", want)
		wantText(t, e, "b", "c")
	}
}
