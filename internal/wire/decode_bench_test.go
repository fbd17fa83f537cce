package wire_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
)

const benchID = "1767225600123-4"

// benchLines returns the first n events of the benchmark stream, one JSON object each.
func benchLines(tb testing.TB, n int) []string {
	tb.Helper()
	f, err := os.Open("../../testdata/bench_events.jsonl.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var lines []string
	for scan := bufio.NewScanner(zip); len(lines) < n && scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	if len(lines) != n {
		tb.Fatalf("read %d events, want %d", len(lines), n)
	}
	return lines
}

// benchFlat returns an event as the fields of a flat entry, at most n of them.
func benchFlat(tb testing.TB, line string, n int) []string {
	tb.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(line), &members); err != nil {
		tb.Fatal(err)
	}
	fields := []string{"event_type", members["event_type"].(string)}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if text, ok := members[name].(string); ok && name != "event_type" && len(fields) < 2*n {
			fields = append(fields, name, text)
		}
	}
	return fields
}

// benchRecord returns an event as an OpenTelemetry LogRecord.
func benchRecord(tb testing.TB, line string) string {
	tb.Helper()
	raw, err := json.Marshal(map[string]any{
		"timestamp": 1767225600123000000, "severity_text": "INFO", "severity_number": 9,
		"body": "event", "event_name": "http.response.success", "attributes": json.RawMessage(line),
		"resource": map[string]any{"service.name": "shop"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

func BenchmarkDecode(b *testing.B) {
	lines := benchLines(b, 1000)
	encodings := map[string]func(string) []string{
		"json":   func(line string) []string { return []string{"event", line} },
		"flat":   func(line string) []string { return benchFlat(b, line, 10) },
		"record": func(line string) []string { return []string{"event", benchRecord(b, line)} },
	}
	for _, name := range slices.Sorted(maps.Keys(encodings)) {
		entries := make([][]string, len(lines))
		size := 0
		for i, line := range lines {
			entries[i] = encodings[name](line)
			for _, text := range entries[i] {
				size += len(text)
			}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size / len(entries)))
			dec := wire.NewDecoder(wire.DecoderOptions{})
			var sink event.Event
			for i := 0; b.Loop(); i++ {
				var err error
				if sink, err = dec.Decode("audit:events", benchID, entries[i%len(entries)]); err != nil {
					b.Fatal(err)
				}
			}
			_ = sink
		})
	}
}
