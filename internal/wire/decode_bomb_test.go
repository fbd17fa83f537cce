package wire_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/wire"
)

// A bomb is an entry made to cost as much as it can, and what becomes of it.
type bomb struct {
	fields []string
	class  string
}

// bombs are as large as an entry may be, but for the last.
func bombs() map[string]bomb {
	limit := wire.DefaultLimits().EntryBytes - len("event")
	doc := func(class, before, repeated, after string) bomb {
		n := (limit - len(before) - len(after)) / len(repeated)
		pad := strings.Repeat(" ", limit-len(before)-len(after)-n*len(repeated))
		return bomb{[]string{"event", before + strings.Repeat(repeated, n) + after + pad}, class}
	}
	const begin = `{"event_type":"x","a":`
	var distinct strings.Builder
	for i := 0; distinct.Len() < limit-64; i++ {
		fmt.Fprintf(&distinct, `"%d":0,`, i)
	}
	flat := func(value string) []string { return []string{"event_type", "x", "a", value} }
	return map[string]bomb{
		"plain text":               doc("", begin+`"`, "x", `"}`),
		"escapes":                  doc("", begin+`"`, `\u0061`, `"}`),
		"lone surrogates":          doc("", begin+`"`, `\ud800`, `"}`),
		"blanks":                   doc("", begin, " ", `1}`),
		"lists":                    doc(wire.NotJSON, begin, "[", ""),
		"lists, closed":            {[]string{"event", begin + nest(100_000) + "}"}, ""},
		"objects":                  doc(wire.NotJSON, begin, `{"a":`, ""),
		"lists, flat":              {flat(nest(120_000)), ""},
		"lists, flat and broken":   {flat(nest(4000) + "x"), ""},
		"lists in OTLP":            doc(wire.NotJSON, `{"event_name":"x","attributes":`, "[", ""),
		"one name":                 doc("", begin+`{`, `"b":1,`, `"b":1}}`),
		"one name at the top":      doc("", `{"event_type":"x",`, `"b":1,`, `"b":1}`),
		"two values of one name":   doc("", begin+`{`, `"b":1,"b":[],`, `"b":1}}`),
		"two users":                doc(wire.Duplicate, `{"event_type":"x",`, `"user":{"id":1},"user":{"id":2},`, `"b":1}`),
		"two OTLP values":          doc("", `{"event_name":"x","attributes":[`, `{"key":"a","value":{"intValue":1}},`, `{"key":"a"}]}`),
		"no OTLP":                  doc(wire.BadAttributes, `{"event_name":"x","attributes":[`, `1,`, `1]}`),
		"an export request":        doc(wire.Batch, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[`, `{},`, `{}]}]}]}`),
		"bytes that are not text":  doc("", begin+`"`, "\xff", `"}`),
		"names that are not text":  doc("", begin+`{`, "\"\xff\":1,\"\xfe\":2,", `"b":1}}`),
		"NULs":                     doc("", begin+`"`, `\u0000`, `"}`),
		"control characters":       doc("", begin+`"`, "\x01", `"}`),
		"words":                    doc("", begin+`[`, `NaN,`, `1]}`),
		"quoted twice":             {[]string{"event", `"` + begin + strings.Repeat(`[`, 90_000) + `"`}, wire.NotJSON},
		"many addresses":           {[]string{"event_type", "x", "source.address", strings.Repeat("192.0.2.1,", limit/10)}, ""},
		"distinct names":           {[]string{"event", begin + `{` + distinct.String() + `"z":0}}`}, ""},
		"distinct names, at top":   {[]string{"event", `{"event_type":"x",` + distinct.String() + `"z":0}`}, ""},
		"numbers":                  doc("", begin+`[`, `1,`, `1]}`),
		"empty objects":            doc("", begin+`[`, `{},`, `1]}`),
		"empty objects, and wrong": doc(wire.NotJSON, begin+`[`, `{},`, `1}`),
		"a huge number":            doc("", begin, "9", `}`),
		"huge exponents":           doc("", begin+`[`, strings.Repeat("9", 4000)+`e999999999,`, `1]}`),
		"a huge name":              doc("", begin+`{"`, "x", `":1}}`),
		"broken at the end":        doc(wire.NotJSON, begin+`"`, "x", `"`),
		"two candidates":           {[]string{"data", begin + nest(60_000) + "}", "payload", begin + nest(60_000) + "}"}, wire.NoEventType},
		"far too large":            {[]string{"event", begin + `"` + strings.Repeat("x", 3*limit) + `"}`}, ""},
		"far too many":             {[]string{"event", begin + `[` + strings.Repeat(`"abcdefg",`, 3*limit/10) + `1]}`}, ""},
		"more than is read":        {[]string{"event", begin + `"` + strings.Repeat("x", 4*limit+64) + `"}`}, wire.Oversized},
	}
}

// TestDecodeMemoryIsBounded: whatever an entry holds, reading it costs memory in proportion to its
// size, and no more, and what is over a limit says which. BenchmarkBombs has the time.
func TestDecodeMemoryIsBounded(t *testing.T) { //nolint:paralleltest // it looks at what the process allocates
	limits := wire.DefaultLimits()
	const perByte, fixed = 40, 1 << 20 // some more under the race detector
	for name, b := range bombs() {
		d := wire.NewDecoder(wire.DecoderOptions{Limits: limits})
		size := 0
		for _, text := range b.fields {
			size += len(text)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Decode("s", entryID, b.fields)
		runtime.ReadMemStats(&after)
		if used := int(after.TotalAlloc - before.TotalAlloc); used > perByte*size+fixed {
			t.Errorf("%s: %d bytes are allocated for one of %d", name, used, size)
		}
		if got := class(t, wire.DecoderOptions{}, entryID, b.fields...); got != b.class {
			t.Errorf("%s: class %q, want %q (%v)", name, got, b.class, err)
		}
	}
}

// BenchmarkBombs is what a byte costs in the worst entries: MB/s.
func BenchmarkBombs(b *testing.B) {
	all := bombs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			size := 0
			for _, text := range all[name].fields {
				size += len(text)
			}
			d := wire.NewDecoder(wire.DecoderOptions{})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = d.Decode("s", entryID, all[name].fields)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/byte")
		})
	}
}
