package schema_test

import (
	"bufio"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const asyncAPI = "asyncapi.yaml"

type object = map[string]any

// asyncDocument reads the AsyncAPI document.
func asyncDocument(t *testing.T) object {
	t.Helper()
	raw, err := os.ReadFile(asyncAPI)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	doc, ok := parse(t, string(text)).(object)
	if !ok {
		t.Fatal("the document is not an object")
	}
	return doc
}

// at follows names into an object, through references.
func at(t *testing.T, root object, names ...string) object {
	t.Helper()
	here := root
	for _, name := range names {
		here, _ = here[name].(object)
		if ref, ok := here["$ref"].(string); ok && strings.HasPrefix(ref, "#/") {
			here = at(t, root, strings.Split(ref[2:], "/")...)
		}
		if here == nil {
			t.Fatalf("nothing at %s", strings.Join(names, "/"))
		}
	}
	return here
}

// compileAsync compiles a schema of the AsyncAPI document.
func compileAsync(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for path, doc := range map[string]any{asyncAPI: asyncDocument(t), eventSchema: document(t, eventSchema)} {
		if err := c.AddResource(path, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(asyncAPI + "#/components/schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAsyncAPIStructure(t *testing.T) {
	t.Parallel()
	root := asyncDocument(t)
	if root["asyncapi"] != "3.0.0" || at(t, root, "info")["title"] == nil || at(t, root, "info")["version"] == nil {
		t.Errorf("asyncapi %v, info %v", root["asyncapi"], root["info"])
	}
	streams := map[string][2]string{ // what each operation does, and where
		"detect": {"receive", "audit:events"}, "enforce": {"send", "audit:enforcement"}, "deadLetter": {"send", "audit:events:dead"},
		"announce": {"send", "wardstream:blocks:changes"},
	}
	operations := at(t, root, "operations")
	if len(operations) != len(streams) || len(at(t, root, "channels")) != len(streams) {
		t.Errorf("operations %v", slices.Sorted(maps.Keys(operations)))
	}
	for name, want := range streams {
		operation := at(t, root, "operations", name)
		channel := at(t, root, "operations", name, "channel")
		redis := at(t, channel, "x-redis")
		if operation["action"] != want[0] || channel["address"] != want[1] || redis["stream"] != want[1] || redis["publish"] == nil {
			t.Errorf("%s: action %v, channel %v", name, operation["action"], channel)
		}
		for _, message := range operation["messages"].([]any) {
			ref, _ := message.(object)["$ref"].(string)
			if prefix := at(t, root, "operations")[name].(object)["channel"].(object)["$ref"].(string); !strings.HasPrefix(ref, prefix+"/messages/") {
				t.Errorf("%s: message %s is not one of its channel's", name, ref)
			}
		}
	}
}

// TestAsyncAPIReferences: every reference leads somewhere.
func TestAsyncAPIReferences(t *testing.T) {
	t.Parallel()
	root, seen := asyncDocument(t), 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok {
				seen++
				if path, local := strings.CutPrefix(ref, "#/"); local {
					at(t, root, strings.Split(path, "/")...)
				} else if _, err := os.Stat(ref); err != nil {
					t.Errorf("reference %s: %v", ref, err)
				}
			}
			for _, item := range v {
				walk(item)
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(root)
	if seen < 20 {
		t.Errorf("%d references", seen)
	}
}

// TestAsyncAPIExamples holds each message's examples to its payload, and what
// an example carries as JSON to the schema of that.
func TestAsyncAPIExamples(t *testing.T) {
	t.Parallel()
	root := asyncDocument(t)
	inner := map[string]*jsonschema.Schema{"jsonEntry": compileEvent(t), "enforcementEntry": compileAsync(t, "enforcementEvent")}
	for name := range at(t, root, "components", "messages") {
		message, _ := at(t, root, "components", "messages")[name].(object)
		ref, _ := message["payload"].(object)["$ref"].(string)
		schema := strings.TrimPrefix(ref, "#/components/schemas/")
		compiled := compileAsync(t, schema)
		examples, _ := message["examples"].([]any)
		if len(examples) == 0 {
			t.Errorf("%s has no example", name)
		}
		for _, example := range examples {
			payload, _ := example.(object)["payload"].(object)
			if err := compiled.Validate(payload); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if event, ok := payload["event"].(string); ok && inner[schema] != nil {
				if err := inner[schema].Validate(parse(t, event)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if err := compiled.Validate(object{}); err == nil {
			t.Errorf("%s may be empty", name)
		}
	}
}

// TestAsyncAPIEnforcement: the events that we emit pass, and no attribute is
// described that none of them has.
func TestAsyncAPIEnforcement(t *testing.T) {
	t.Parallel()
	schema := compileAsync(t, "enforcementEvent")
	f, err := os.Open("../internal/wire/testdata/enforcement.golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	described := maps.Clone(at(t, asyncDocument(t), "components", "schemas", "enforcementAttributes", "properties"))
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		event := parse(t, scan.Text())
		if err := schema.Validate(event); err != nil {
			t.Errorf("%s: %v", scan.Text(), err)
		}
		for name := range event.(object)["attributes"].(object) {
			delete(described, name)
		}
	}
	if len(described) > 0 {
		t.Errorf("no event has %v", slices.Sorted(maps.Keys(described)))
	}
	for _, bad := range []string{
		`{}`, `{"attributes":{"event_type":"audit.enforcement.alert"}}`, strings.Replace(firstEnforcement(t), "WARN", "LOUD", 1),
		strings.Replace(firstEnforcement(t), `"scope.type"`, `"password"`, 1),
	} {
		if schema.Validate(parse(t, bad)) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func firstEnforcement(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../internal/wire/testdata/enforcement.golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	return line
}
