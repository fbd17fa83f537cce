package match_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/parser"

	"github.com/wardstream/wardstream/internal/match"
)

// selections are those of the conditions in these tests: each holds if the attribute of its name is
// 1.
const selections = `
a: {a: 1}
b: {b: 1}
sel_x: {sel_x: 1}
sel_y: {sel_y: 1}
sel-z1: {sel-z1: 1}
_hidden: {_hidden: 1}
`

func condition(tb testing.TB, text string) (*match.Matcher, error) {
	tb.Helper()
	file, err := parser.ParseBytes([]byte(selections+"condition: "+text), 0)
	if err != nil {
		tb.Fatal(err)
	}
	return match.Detection(file.Docs[0].Body)
}

func TestCondition(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct{ yes, no []string }{
		"a":                    {[]string{"a"}, []string{"", "b"}},
		"not a":                {[]string{"", "b"}, []string{"a"}},
		"not not a":            {[]string{"a"}, []string{""}},
		"a and b":              {[]string{"a b"}, []string{"a", "b"}},
		"a or b and sel_x":     {[]string{"a", "b sel_x"}, []string{"b"}},
		"(a or b) and sel_x":   {[]string{"a sel_x"}, []string{"a", "b"}},
		"not a and b":          {[]string{"b"}, []string{"a b", ""}},
		"not (a and b)":        {[]string{"a", ""}, []string{"a b"}},
		"a AND NOT b OR sel_x": {[]string{"a", "a b sel_x"}, []string{"a b"}},
		"1 of sel_*":           {[]string{"sel_x", "sel_y"}, []string{"sel-z1", "a"}},
		"any of sel*":          {[]string{"sel-z1"}, []string{"a"}},
		"all of sel_*":         {[]string{"sel_x sel_y"}, []string{"sel_x"}},
		"1 of *_x":             {[]string{"sel_x"}, []string{"sel_y"}},
		"1 of s*l*1":           {[]string{"sel-z1"}, []string{"sel_x"}},
		"1 of them":            {[]string{"a", "sel-z1"}, []string{"", "_hidden"}},
		"all of them":          {[]string{"a b sel_x sel_y sel-z1"}, []string{"a b"}},
		"1 of _*":              {[]string{"_hidden"}, []string{"a"}},
		"_hidden":              {[]string{"_hidden"}, []string{"a"}},
		"a and not 1 of sel_*": {[]string{"a"}, []string{"a sel_x"}},
		"sel-z1":               {[]string{"sel-z1"}, []string{"a"}},
		"[a and b, sel_x]":     {[]string{"a b", "sel_x"}, []string{"a"}},
		"(a)and(b)":            {[]string{"a b"}, []string{"a"}},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			m, err := condition(t, text)
			if err != nil {
				t.Fatal(err)
			}
			for want, list := range map[bool][]string{true: c.yes, false: c.no} {
				for _, names := range list {
					members := make([]string, 0, 4)
					for _, name := range strings.Fields(names) {
						members = append(members, `"`+name+`":1`)
					}
					if got := m.Match(document(t, "{"+strings.Join(members, ",")+"}")); got != want {
						t.Errorf("with %q: %t", names, got)
					}
				}
			}
		})
	}
}

func TestConditionIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"aa":              `"aa", which is not a selection; did you mean "a"?`,
		"a and":           "ends where a selection should stand",
		"a b":             "one too many",
		"(a or b":         "not closed",
		"a)":              "one too many",
		"2 of sel_*":      "write 1 of, any of or all of",
		"1 of":            "ends after of",
		"1 of nothing*":   "no selection is called",
		"a | count() > 5": "aggregations",
		"{a: b}":          "is text",
		"[]":              "is empty",
		"''":              "ends where a selection should stand",
		strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100): "nested more than",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			_, err := condition(t, `'`+strings.ReplaceAll(text, `''`, "")+`'`)
			if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
				_, err = condition(t, text)
			}
			if refused := refusal(t, err); !strings.Contains(refused.Reason, want) {
				t.Errorf("refused: %s; want %q in it", refused.Reason, want)
			}
		})
	}
	for text, want := range map[string]string{
		"a: {b: c}":           "no condition",
		"condition: a":        "no selection",
		"[a]":                 "not a mapping",
		"a: {}\ncondition: a": "is empty",
	} {
		file, err := parser.ParseBytes([]byte(text), 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = match.Detection(file.Docs[0].Body)
		if refused := refusal(t, err); !strings.Contains(refused.Reason, want) {
			t.Errorf("%s: refused: %s; want %q in it", text, refused.Reason, want)
		}
	}
}
