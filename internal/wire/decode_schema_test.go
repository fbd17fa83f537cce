package wire_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wardstream/wardstream/internal/wire"
)

// eventSchema compiles the published schema of events.
func eventSchema(t testing.TB) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	raw, err := os.ReadFile("../../schema/event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("event.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	root, _ := doc.(map[string]any)
	return s, root
}

// asDocument is the JSON object of an entry, or a flat entry's fields as one.
func asDocument(t *testing.T, fields []string) any {
	t.Helper()
	for i := 0; i+1 < len(fields); i += 2 {
		if slices.Contains([]string{"event", "data"}, fields[i]) {
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(fields[i+1]))
			if err != nil {
				t.Fatal(err)
			}
			return doc
		}
	}
	doc := map[string]any{}
	for i := 0; i+1 < len(fields); i += 2 {
		doc[fields[i]] = fields[i+1]
	}
	return doc
}

// TestSchemaAcceptsWhatDecodes: producers' entries of every kind, and the benchmark's
// stream, pass both the decoder and the schema.
func TestSchemaAcceptsWhatDecodes(t *testing.T) {
	t.Parallel()
	s, _ := eventSchema(t)
	entries := goldenEntries()
	for _, line := range benchLines(t, 500) {
		entries = append(entries, []string{"event", line}, []string{"event", benchRecord(t, line)}, benchFlat(t, line, 10))
	}
	d, checked := wire.NewDecoder(wire.DecoderOptions{}), 0
	for _, fields := range entries {
		if _, err := d.Decode("s", entryID, fields); err != nil {
			continue
		}
		checked++
		if err := s.Validate(asDocument(t, fields)); err != nil {
			t.Errorf("%q: %v", fields, err)
		}
	}
	if checked < 1500 {
		t.Errorf("only %d entries decoded", checked)
	}
}

// FuzzSchema: what the schema accepts decodes, but for what a schema can't say.
func FuzzSchema(f *testing.F) {
	s, root := eventSchema(f)
	for _, doc := range fuzzDocuments() {
		f.Add(doc)
	}
	examples, _ := root["examples"].([]any)
	for _, example := range examples {
		raw, err := json.Marshal(example)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	d := wire.NewDecoder(wire.DecoderOptions{})
	large := regexp.MustCompile(`[0-9][eE][+-]?[0-9]{4}`) // the validator writes such numbers out
	f.Fuzz(func(t *testing.T, text string) {
		if large.MatchString(text) {
			return
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil || s.Validate(doc) != nil {
			return
		}
		if _, err := d.Decode("s", entryID, []string{"event", text}); err != nil {
			var m *wire.Malformed
			notText := strings.Contains(err.Error(), "is not UTF-8 text") // the validator sees what its JSON reader put in place of it
			if !errors.As(err, &m) || !notText && !slices.Contains([]string{wire.Duplicate, wire.Oversized}, m.Class) {
				t.Errorf("the schema accepts %s: %v", text, err)
			}
		}
	})
}
