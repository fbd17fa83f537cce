package strictconfig

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// words is a list that is split at blanks.
type words []string

func (words) Split(text string) []string { return strings.Fields(text) }

type schema struct {
	Name    string   `yaml:"the_name"`
	List    []string `yaml:"list"`
	Numbers []int    `yaml:"numbers"`
	Words   words    `yaml:"words"`
}

func TestFlagNotation(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]schema{
		"the-name: a":                       {Name: "a"},
		"the_name: >\n  a\n  b\n":           {Name: "a b"},
		"list: a, b,,c":                     {List: []string{"a", "b", "c"}},
		"list: [a, 'b,c']":                  {List: []string{"a", "b,c"}},
		"list: x,${A}":                      {List: []string{"x", "1", "2"}},
		"list: ''":                          {},
		"numbers: 7":                        {Numbers: []int{7}},
		"numbers: 7,8":                      {Numbers: []int{7, 8}},
		"numbers: ${A}":                     {Numbers: []int{1, 2}},
		"words: a b,c":                      {Words: words{"a", "b,c"}},
		"words: [a b]":                      {Words: words{"a b"}},
		"words: ~\nlist: &l [a]\nthe_name:": {List: []string{"a"}},
	} {
		var got schema
		d := New(Options{File: "c.yaml", Environ: []string{"A=1,2"}, FlagNotation: true}, &schema{})
		d.Load(&got, []byte(text))
		if err := d.Err(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestFlagNotationRefusals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{ // with the notation, and without
		"the-name: a":              {"", "c.yaml:1: the-name: is not a known key; did you mean \"the_name\"?"},
		"list: a,b":                {"", "c.yaml:1: list: is a plain value, not a list; write [a, b]"},
		"list: 7":                  {"c.yaml:1: list: 7 is not text; put it in quotes", "c.yaml:1: list: is a plain value, not a list; write [a, b]"},
		"list: {a: b}":             {"c.yaml:1: list: is a mapping, not a list; write [a, b]", "c.yaml:1: list: is a mapping, not a list; write [a, b]"},
		"numbers: 7,x":             {`c.yaml:1: numbers[1]: "x" is not a whole number (without quotes)`, "c.yaml:1: numbers: is a plain value, not a list; write [a, b]"},
		"list: ${NO}":              {"c.yaml:1: list: the environment has no NO; set it, or write ${NO:-default}", "c.yaml:1: list: is a plain value, not a list; write [a, b]"},
		"the_name: a\nthe-name: b": {"c.yaml:2: the_name: was given already in line 1; keep one", "c.yaml:2: the-name: is not a known key; did you mean \"the_name\"?"},
	} {
		for i, notation := range []bool{true, false} {
			d := New(Options{File: "c.yaml", FlagNotation: notation}, &schema{})
			d.Load(&schema{}, []byte(text))
			if got := errText(d.Err()); got != want[i] {
				t.Errorf("%q, notation %t: %s; want %s", text, notation, got, want[i])
			}
		}
	}
}

// TestVariablesAndFlagsSplitLists: a variable's list is split as the list wants it, a flag's comes
// in elements, and a key without a variable is read from none.
func TestVariablesAndFlagsSplitLists(t *testing.T) {
	t.Parallel()
	o := Options{
		Environ: []string{"WARDSTREAM_WORDS=a b,c", "WARDSTREAM_LIST=d,e", "=nameless"},
		Flags:   []Flag{{Name: "--list", Key: "list", Value: []string{"f,g"}}},
		Variable: func(key string) string {
			if key == "the_name" {
				return ""
			}
			return Variable(key)
		},
	}
	var got schema
	d := New(o, &schema{})
	d.Load(&got, nil)
	if err := d.Err(); err != nil || !slices.Equal(got.Words, words{"a", "b,c"}) || !slices.Equal(got.List, []string{"f,g"}) || got.Name != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHostname: ${HOSTNAME} is the host's name where the environment has none, and refused where
// that is not known either.
func TestHostname(t *testing.T) {
	t.Parallel()
	for hostname, want := range map[string]string{"h": "h", "": ""} {
		var got schema
		d := New(Options{File: "c.yaml", Hostname: hostname}, &schema{})
		d.Load(&got, []byte("the_name: ${HOSTNAME}"))
		if got.Name != want || (d.Err() == nil) != (hostname != "") {
			t.Errorf("host name %q: %q, %v", hostname, got.Name, d.Err())
		}
	}
}
