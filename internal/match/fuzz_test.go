package match_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml/parser"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/match"
)

// FuzzDetection: whatever a rule file and an event say, compiling and matching end, with a matcher
// or a reason.
func FuzzDetection(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(corpusDir(), "rules", "*.yml"))
	if err != nil || len(files) == 0 {
		f.Fatalf("the Sigma corpus has no rules: %v", err)
	}
	for i, file := range files {
		if i%20 != 0 {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		section := detection(f, text).String()
		f.Add(section, "C:\\Windows\\System32\\cmd.exe", "4688")
	}
	for _, text := range []string{
		selections + "condition: 1 of sel_* and not (a or b)", "s: {a|re|i: '^x+$'}\ncondition: s",
		"s: {a|windash|contains|all: ['-x', '/y']}\ncondition: s", "s: &x {a: 1}\nt: *x\ncondition: [s, t]",
		"s: ['*a?b*']\ncondition: not s", "s: {a|base64offset|contains: foo, b|hour|gte: 3}\ncondition: all of them",
	} {
		f.Add(text, "foo", "1.5")
	}
	f.Fuzz(func(t *testing.T, rule, one, two string) {
		file, err := parser.ParseBytes([]byte(rule), 0)
		if err != nil || len(file.Docs) == 0 || file.Docs[0].Body == nil {
			return
		}
		m, err := match.Detection(file.Docs[0].Body)
		if err != nil {
			if refusal(t, err).Reason == "" {
				t.Fatal("refused without a reason")
			}
			return
		}
		e := event.Event{Type: one, Attrs: []event.Attr{
			event.TextAttr("a", one), event.TextAttr("CommandLine", two),
			{Name: "b", Value: event.Number("12")},
			{Name: "list", Value: []any{one, nil, map[string]any{"x": two}}},
		}}
		if first := m.Match(&e); m.Match(&e) != first {
			t.Fatal("matches once and then not")
		}
	})
}
