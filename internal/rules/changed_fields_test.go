package rules

import (
	"slices"
	"testing"

	"github.com/wardstream/wardstream/internal/event"
)

// TestChangedFields: every form in which frameworks say which fields were changed.
func TestChangedFields(t *testing.T) {
	t.Parallel()
	both := []string{"email", "role"}
	for name, c := range map[string]struct {
		value any
		want  []string
		ok    bool
	}{
		"one":                  {"email", []string{"email"}, true},
		"commas":               {"email,role", both, true},
		"commas and blanks":    {" email , role ", both, true},
		"semicolons":           {"email;role", both, true},
		"Python's list":        {"['email', 'role']", both, true},
		"Python's tuple":       {"('email', 'role')", both, true},
		"Python's set":         {"{'email', 'role'}", both, true},
		"Python 2's list":      {"[u'email', u'role']", both, true},
		"Python's keys":        {"dict_keys(['email', 'role'])", both, true},
		"Python's frozen set":  {"frozenset({'email', 'role'})", both, true},
		"Go's list":            {"[email role]", both, true},
		"Java's list":          {"[email, role]", both, true},
		"Postgres's array":     {"{email,role}", both, true},
		"quoted names":         {`"email","role"`, both, true},
		"a name with a blank":  {"e-mail address", []string{"e-mail address"}, true},
		"a label in brackets":  {"'email (work)', role", []string{"email (work)", "role"}, true},
		"list":                 {[]any{"email", "role"}, both, true},
		"list of numbers":      {[]any{event.Number("1")}, []string{"1"}, true},
		"list of fields":       {[]any{map[string]any{"field": "email"}, map[string]any{"field": "role", "old": "a"}}, both, true},
		"list of names":        {[]any{map[string]any{"name": "email"}, map[string]any{"column": "role"}}, both, true},
		"JSON Patch":           {[]any{map[string]any{"op": "replace", "path": "/email"}, map[string]any{"op": "add", "path": "/role"}}, both, true},
		"list of objects":      {[]any{map[string]any{"email": []any{"a", "b"}}, map[string]any{"role": "x"}}, both, true},
		"object":               {map[string]any{"email": nil}, []string{"email"}, true},
		"empty text":           {"", nil, true},
		"empty list":           {[]any{}, nil, true},
		"empty list, printed":  {"[]", nil, true},
		"number":               {event.Number("3"), nil, false},
		"boolean":              {true, nil, false},
		"only commas":          {",,", nil, false},
		"nested list":          {[]any{[]any{"email"}}, nil, false},
		"objects without name": {[]any{map[string]any{"old": "a", "new": "b"}, "role"}, []string{"role"}, false},
	} {
		got, ok := changedFields(&event.Event{Attrs: []event.Attr{{Name: "changed_fields", Value: c.value}}})
		if !slices.Equal(got, c.want) || ok != c.ok {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, ok, c.want, c.ok)
		}
	}
	if got, ok := changedFields(&event.Event{}); got != nil || !ok {
		t.Errorf("without: %q, %v", got, ok)
	}
}
