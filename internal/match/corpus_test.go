package match_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/match"
)

// corpusDir has rules, events, and which match which. WARDSTREAM_SIGMA_CORPUS names a large one,
// such as one of SigmaHQ's rules, which is else expected beside the checkout; the small one in
// testdata stands in for it.
func corpusDir() string {
	if named := os.Getenv("WARDSTREAM_SIGMA_CORPUS"); named != "" {
		return named
	}
	beside := filepath.Join("..", "..", "..", "shared", "sigma")
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	return filepath.Join("testdata", "sigma")
}

// corpusEvents returns the corpus' events. Their null members are absent.
func corpusEvents(tb testing.TB) []event.Event {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(corpusDir(), "events.json"))
	if err != nil {
		tb.Fatalf("read the Sigma corpus, whose folder WARDSTREAM_SIGMA_CORPUS names: %v", err)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var documents []map[string]any
	if err := d.Decode(&documents); err != nil {
		tb.Fatal(err)
	}
	events := make([]event.Event, len(documents))
	for i, document := range documents {
		events[i] = eventOf(document)
	}
	return events
}

func eventOf(document map[string]any) event.Event {
	var e event.Event
	for name, v := range document {
		switch v := numbers(v); {
		case v == nil:
			e.Nulls = append(e.Nulls, name)
		case name == "event_type":
			e.Type, _ = v.(string)
		default:
			e.Attrs = append(e.Attrs, event.AnyAttr(name, v))
		}
	}
	return e
}

// numbers makes numbers of JSON those of events.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return event.Number(v)
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return v
}

// detection returns the detection section of the first document of a rule file.
func detection(tb testing.TB, text []byte) ast.Node {
	tb.Helper()
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		tb.Fatal(err)
	}
	body, ok := file.Docs[0].Body.(ast.MapNode)
	if !ok {
		tb.Fatalf("a rule is a %T", file.Docs[0].Body)
	}
	for all := body.MapRange(); all.Next(); {
		if all.Key().String() == "detection" {
			return all.Value()
		}
	}
	tb.Fatal("the rule has no detection")
	return nil
}

// TestCorpusRulesMatchRecordedEvents: every rule compiles, and matches of the events those that
// independent engines agree on, and no other.
func TestCorpusRulesMatchRecordedEvents(t *testing.T) {
	t.Parallel()
	events := corpusEvents(t)
	raw, err := os.ReadFile(filepath.Join(corpusDir(), "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected []struct {
		Rule   string `json:"rule"`
		Events []int  `json:"events"`
	}
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected) == 0 || len(events) == 0 {
		t.Fatal("the corpus is empty")
	}
	positives := 0
	for _, want := range expected {
		text, err := os.ReadFile(filepath.Join(corpusDir(), "rules", want.Rule))
		if err != nil {
			t.Fatal(err)
		}
		m, err := match.Detection(detection(t, text))
		if err != nil {
			t.Errorf("%s: %v", want.Rule, err)
			continue
		}
		var got []int
		for i := range events {
			if m.Match(&events[i]) {
				got = append(got, i)
			}
		}
		slices.Sort(want.Events)
		if !slices.Equal(got, want.Events) {
			t.Errorf("%s matches the events %v, want %v", want.Rule, got, want.Events)
		}
		positives += len(got)
	}
	t.Logf("%s: %d rules, %d events, %d matches", corpusDir(), len(expected), len(events), positives)
}

// selection compiles one selection from YAML.
func selection(tb testing.TB, text string) (*match.Matcher, error) {
	tb.Helper()
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		tb.Fatal(err)
	}
	return match.Selection(file.Docs[0].Body)
}

// document makes an event of JSON.
func document(tb testing.TB, text string) *event.Event {
	tb.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		tb.Fatal(err)
	}
	e := eventOf(members)
	return &e
}

// refusal returns the reason why something does not compile.
func refusal(tb testing.TB, err error) *match.Error {
	tb.Helper()
	var refused *match.Error
	if !errors.As(err, &refused) {
		tb.Fatalf("error %v, want a match.Error", err)
	}
	return refused
}
