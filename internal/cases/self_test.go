package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readText reads cases from text.
func readText(t *testing.T, text string) ([]*testCase, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return readCases(path)
}

// TestCaseFileIsStrict: what a contributor mistypes is refused, with its line.
func TestCaseFileIsStrict(t *testing.T) {
	t.Parallel()
	const head = "- name: n\n  source: s\n"
	for text, want := range map[string]string{
		"name: n":                        "is not a list of cases",
		"- name: n\n  want: {}\n":        "c.yaml:1: \"n\" has no source",
		"- source: s\n  want: {}\n":      "c.yaml:1: the case has no name",
		head:                             "c.yaml:1: \"n\" wants nothing",
		head + "  want: {blocked: []}\n": "has no entries",
		head + "  want: {bloked: []}\n":  "[3:10] unknown field \"bloked\"",
		head + "  wants: {}\n":           "[3:3] unknown field \"wants\"",
		head + "  entries:\n  - fields: {a: b}\n    tims: 5\n":                                              "[5:5] unknown field \"tims\"",
		head + "  entries:\n  - fields: {a: {escapd: x}}\n":                                                 "unknown field \"escapd\"",
		head + "  entries:\n  - fields: {a: }\n":                                                            "line 4: null is not text",
		head + "  entries:\n  - fields: [a, b, c]\n":                                                        "line 4: a name without a value",
		head + "  entries:\n  - fields: a\n":                                                                "line 4: fields are a mapping or a list",
		head + "  entries:\n  - fields: {a: [b]}\n":                                                         "line 4: a value is text, or one of",
		head + "  entries:\n  - fields: {a: {escaped: '\\q'}}\n":                                            "line 4: invalid syntax",
		head + "  entries:\n  - {}\n  want: {}\n":                                                           "an entry has no fields",
		head + "  entries:\n  - {fields: {a: b}, at: 5}\n  want: {}\n":                                      "missing unit in duration",
		head + "  ingress: {flags: []}\n":                                                                   "ingress has no requests",
		head + "  ingress: {requests: [{path: /}]}\n":                                                       "a request has no status",
		head + "  blocks: ['ip:203.0.113.9']\n  entries:\n  - fields: {a: b}\n  want: {}\n":                 "blocks are for ingress",
		"- {name: a, source: s, want: {refused: x}}\n---\n- {name: b, source: s, want: {refused: x}}\n":     "has 2 documents",
		"- {name: a, source: s, want: {refused: x}}\n- {name: b, source: s, want: {refuse: x}}\n":           "[2:31] unknown field \"refuse\"",
		"- {name: a, source: s, want: {refused: x}}\n\n\n- {name: b, sourc: s, want: {refused: x}}\n":       "[4:13] unknown field \"sourc\"",
		"- {name: a, source: s, want: {refused: x}}\n\n\n- {name: b, want: {refused: x}}\n":                 "c.yaml:4: \"b\" has no source",
		"- name: a\n  source: s\n  config: |\n    rules: []\n  want: {refused: x}\n  entries: [ {fields: x": "c.yaml",
	} {
		if _, err := readText(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// TestCaseValues: every way to write a value.
func TestCaseValues(t *testing.T) {
	t.Parallel()
	cases, err := readText(t, `
- name: n
  source: s
  entries:
  - fields: {a: 01.50, b: true, c: "x\ny", d: {escaped: 'ev\xff"e\x00'}, e: {base64: gQE=}, f: {repeat: "<{n}>", times: 3, before: "[", after: "]"}, g: "{n}"}
    times: 2
  - fields: [event_type, x, event_type, y]
  - fields:
      long: |
        two
        lines
  want: {blocked: []}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "01.50", "b", "true", "c", "x\ny", "d", "ev\xff\"e\x00", "e", "\x81\x01", "f", "[<0><1><2>]", "g", "1"}
	if got := cases[0].Entries[0].Fields.numbered(1); !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
	if got := cases[0].Entries[1].Fields; !slices.Equal(got, []string{"event_type", "x", "event_type", "y"}) {
		t.Errorf("a list is %q", got)
	}
	if got := cases[0].Entries[2].Fields; !slices.Equal(got, []string{"long", "two\nlines\n"}) {
		t.Errorf("lines are %q", got)
	}
}

// TestCaseWrongExpectationFails: a case that wants something else than what happens fails.
func TestCaseWrongExpectationFails(t *testing.T) {
	t.Parallel()
	const head = `
- name: n
  source: s
  config:
    rules: [{name: brute_force_login}, {name: repeated_client_error, threshold: 2}]
    actions: {repeated_client_error: {action: alert}}
  entries:
  - fields: {event_type: http.response.client_error, source.address: 203.0.113.7}
    times: 2
  - fields: {no: type}
  - fields: {event_type: auth.login.failed, source.address: 203.0.113.9, user.name: eve}
    times: 5
  want: {%s}
`
	const right = "blocked: ['ip:203.0.113.9'], dead_letters: [{reason: no_event_type}], alerts: [repeated_client_error]"
	for want, problem := range map[string]string{
		right: "",
		right + ", not_blocked: ['ip:203.0.113.9']":                 "ip:203.0.113.9 is blocked",
		right + ", event: {type: x}":                                "type \"auth.login.failed\", want \"x\"",
		right + ", event: {attributes: {user.name: bob}}":           "user.name = \"eve\", want \"bob\"",
		right + ", event: {absent: [user.name]}":                    "want it absent",
		right + ", event: {scopes: []}":                             "scopes [",
		right + ", event: {time: \"2026-01-01T00:00:00Z\"}":         "want 2026-01-01",
		right + ", event: {time: entry}":                            "",
		right + ", metrics: {wardstream_events_evaluated_total: 6}": "is 7, want 6",
		right + ", logs: [never logged]":                            "no line of the log",
		right + ", warnings: [never warned]":                        "want one with \"never warned\"",
		"refused: x":                                                "want it refused",

		"blocked: [], dead_letters: [{reason: no_event_type}], alerts: [repeated_client_error]":                                        "ip:203.0.113.9 is blocked",
		"blocked: ['ip:203.0.113.9', 'ip:203.0.113.8'], dead_letters: [{reason: no_event_type}], alerts: [repeated_client_error]":      "ip:203.0.113.8 is not blocked",
		"blocked: ['ip:203.0.113.9'], alerts: [repeated_client_error]":                                                                 "dead letter: no_event_type",
		"blocked: ['ip:203.0.113.9'], dead_letters: [{reason: no_event_type, times: 3}], alerts: [repeated_client_error]":              "2 more dead letters",
		"blocked: ['ip:203.0.113.9'], dead_letters: [{reason: oversized}], alerts: [repeated_client_error]":                            "1 more dead letters wanted with \"oversized\"",
		"blocked: ['ip:203.0.113.9'], dead_letters: [{reason: no_event_type}]":                                                         "alerts of [",
		"blocked: ['ip:203.0.113.9'], dead_letters: [{reason: no_event_type}], alerts: [repeated_client_error, repeated_client_error]": "alerts of [",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			expectProblem(t, fmt.Sprintf(head, want), problem)
		})
	}
	t.Run("ingress", func(t *testing.T) {
		t.Parallel()
		const text = "- {name: n, source: s, blocks: ['ip:127.0.0.1'], ingress: {requests: [{status: 429}, {status: 200}]}}"
		expectProblem(t, text, "request 2")
	})
}

// expectProblem runs the one case of text, which must report the problem and no other kind; "" is
// none.
func expectProblem(t *testing.T, text, problem string) {
	t.Helper()
	cases, err := readText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	cases[0].run(t, func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) })
	if problem == "" && len(problems) > 0 || problem != "" && !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, problem) }) {
		t.Errorf("problems %q, want %q", problems, problem)
	}
}
