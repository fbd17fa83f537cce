package config

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/wardstream/wardstream/internal/strictconfig"
)

// FuzzLoad: any file is refused with errors of one line each, or gives a
// Config that is ready and reads back from what it prints.
func FuzzLoad(f *testing.F) {
	for _, table := range []map[string]struct {
		text     string
		want     string
		noSchema bool
	}{refusals, ruleRefusals} {
		for _, tt := range table {
			f.Add([]byte(tt.text))
		}
	}
	f.Add([]byte(specExample))
	f.Add([]byte(everyRule))
	f.Add([]byte("a: &a [*a, *a]\nrules: *a\n"))
	f.Add([]byte("{stream: {names: [a:b, ::, :a, a:], group: a:}}"))
	f.Add([]byte("mode: ${A}\nkey_prefix: ${B:-$$}\nredis: {url: \"redis://${A}@h\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := options("A=1", "B=", "MODE=observe")
		c, err := parse("detector.yaml", text, o)
		if err != nil {
			checkErrors(t, err)
			return
		}
		if c.Policy == nil || c.RuleSet == nil || len(c.RuleSet.Rules()) != len(c.Rules) || len(c.Policy.Blockable) < 4 {
			t.Fatalf("not ready: %+v", c)
		}
		again, err := parse("effective.yaml", []byte(c.Effective()), o)
		if err != nil {
			t.Fatalf("what is printed is refused: %v\n%s", err, c)
		}
		if again.Effective() != c.Effective() {
			t.Fatalf("read back\n%s\nis printed as\n%s", c, again)
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	var all strictconfig.Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("error of type %T: %v", err, err)
	}
	for _, e := range all {
		line := e.Error()
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.HasPrefix(line, "detector.yaml:") || e.Line < 1 {
			t.Fatalf("not one line about a line: %q", line)
		}
	}
}
