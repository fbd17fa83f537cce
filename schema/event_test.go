package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const eventSchema = "event.schema.json"

// document reads a JSON file the way the validator wants it.
func document(t *testing.T, path string) any {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(raw))
}

func parse(t *testing.T, text string) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return doc
}

// compileEvent compiles the event's schema, which holds it against the
// metaschema too.
func compileEvent(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource(eventSchema, document(t, eventSchema)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(eventSchema)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEventSchemaExamples(t *testing.T) {
	t.Parallel()
	s := compileEvent(t)
	root, _ := document(t, eventSchema).(map[string]any)
	examples, _ := root["examples"].([]any)
	if len(examples) < 4 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		if err := s.Validate(example); err != nil {
			t.Errorf("%v: %v", example, err)
		}
	}
}

func TestEventSchemaAccepts(t *testing.T) {
	t.Parallel()
	s := compileEvent(t)
	for _, doc := range []string{
		`{"event_type":"auth.login.failed"}`,
		`{"event_name":"auth.login.failed","user":{"id":7,"name":null}}`,
		`{"event_type":"x","tenant.id":"t","nested":{"list":[1,null,{"a":true}]}}`,
		`{"event_type":"auth.login.failed","srcip":"::1","actor":{"id":"7"},"user_id":7,"status":"404"}`,
		`{"event_type":"model.update","attributes":{"colour":"red"}}`,
		`{"event_name":"x","attributes":{}}`,
		`{"attributes":{"event_type":"x"},"trace_id":"0af7651916cd43dd8448eb211c80319c"}`,
		`{"attributes":[{"key":"event_type","value":{"stringValue":"x"}},{"key":"n","value":{"intValue":"1"}}]}`,
		// What is not a LogRecord by its trace_id is a plain event by its event_name.
		`{"event_name":"x","attributes":{"event_type":null},"trace_id":"zz"}`,
		`{"eventName":"x","attributes":[{"key":"l","value":{"arrayValue":{"values":[{"boolValue":true}]}}},{"key":"null","value":{}}]}`,
	} {
		if err := s.Validate(parse(t, doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestEventSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compileEvent(t)
	many := `{"event_type":"x"`
	for i := range 128 {
		many += `,"` + strings.Repeat("a", i+1) + `":1`
	}
	for name, doc := range map[string]string{
		"no object":             `["event_type"]`,
		"no type":               `{"user.id":"7"}`,
		"empty type":            `{"event_type":""}`,
		"blank type":            `{"event_type":" "}`,
		"null type":             `{"event_type":null}`,
		"object for a type":     `{"event_type":{"name":"x"}}`,
		"NUL":                   `{"event_type":"x","user.id":"a\u0000"}`,
		"NUL in a name":         `{"event_type":"x","a\u0000":"b"}`,
		"nested NUL":            `{"event_type":"x","a":{"b":["\u0000"]}}`,
		"129 attributes":        many + "}",
		"invalid address":       `{"event_type":"x","source.address":17}`,
		"invalid status":        `{"event_type":"x","http.response.status_code":4.5}`,
		"record without type":   `{"attributes":{"user.id":"7"}}`,
		"list that is not OTLP": `{"event_name":"x","attributes":["user.id"]}`,
		"OTLP of two kinds":     `{"eventName":"x","attributes":[{"key":"a","value":{"stringValue":"x","intValue":"1"}}]}`,
		"OTLP without key":      `{"eventName":"x","attributes":[{"value":{"stringValue":"x"}}]}`,
		"OTLP without type":     `{"attributes":[{"key":"a","value":{"stringValue":"x"}}]}`,
		"typed list of no OTLP": `{"event_type":"x","attributes":["a"]}`,
	} {
		if err := s.Validate(parse(t, doc)); err == nil {
			t.Errorf("%s was accepted: %s", name, doc)
		}
	}
}

// TestEventSchemaDescribes: every attribute that is listed says what it is.
func TestEventSchemaDescribes(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(eventSchema)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Defs struct {
			Attributes struct {
				Properties map[string]struct{ Description string }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"source.address", "user.id", "user.name", "session.id", "http.route", "srcip", "actor.name", "route_pattern"} {
		if doc.Defs.Attributes.Properties[name].Description == "" {
			t.Errorf("%s has no description", name)
		}
	}
	if bytes.Contains(raw, []byte("\t")) {
		t.Error("the schema is indented with tabs")
	}
}
