package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                        "-",
		"203.0.113.9":             "203.0.113.9",
		"Zoë Ωmega 山":             "Zoë Ωmega 山",
		"two words":               "two words",
		" padded":                 `" padded"`,
		"a\tb\nc":                 `"a\tb\nc"`,
		"\x1b[31mred":             `"\x1b[31mred"`,
		"\u202eevil":              `"\u202eevil"`,
		"\xff":                    `"\xff"`,
		"\u00a0":                  `"\u00a0"`,
		strings.Repeat("ä", 80):   strings.Repeat("ä", 80),
		strings.Repeat("ä", 81):   strings.Repeat("ä", 80) + "…",
		strings.Repeat("\x07", 9): `"` + strings.Repeat(`\a`, 9) + `"`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzTerminal: whatever comes in, what is printed can't drive a terminal, and JSON says what came
// in.
func FuzzTerminal(f *testing.F) {
	for _, seed := range []string{"plain", "\x1b]0;x\x07", "\u009b2J", "\u202e", "\xff\xfe", "a\nb\r\t", "\U000e0001", "\x7f", `\"`, "…"} {
		f.Add(seed)
	}
	safe := func(r rune) bool { return unicode.IsPrint(r) }
	f.Fuzz(func(t *testing.T, s string) {
		for _, out := range []string{Printable(s), OneLine(s)} {
			if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return !safe(r) }) || len(out) > 20*len(s)+20 {
				t.Errorf("%q is printed as %q", s, out)
			}
		}
		raw, err := EncodeJSON([]string{s})
		if err != nil || strings.ContainsFunc(string(raw), func(r rune) bool { return !safe(r) }) {
			t.Errorf("%q is encoded as %q, %v", s, raw, err)
		}
		var back []string
		if err := json.Unmarshal(raw, &back); err != nil || len(back) != 1 || back[0] != valid(s) {
			t.Errorf("%q comes back as %q, %v", s, back, err)
		}
	})
}

// valid is s as JSON can hold it: each byte that is not a character replaced.
func valid(s string) string { return string([]rune(s)) }

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                            "",
		"plain":                       "plain",
		"first;\nsecond\n\n\tthird\n": "first; second; third",
		"a\x1b[2Jb":                   "a\uFFFD[2Jb",
		errors.Join(errors.New("one"), errors.New("two")).Error(): "one; two",
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTableAligns(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	(App{Stdout: &out}).Table(&out, []string{"A", "LONGER", "LAST"}, [][]string{{"wide cell", "", "x"}, {"é", "y", ""}})
	if want := "A          LONGER  LAST\nwide cell  -       x\né          y       -\n"; out.String() != want {
		t.Errorf("table\n%s\nwant\n%s", out.String(), want)
	}
}

// TestVersionDefaultsToBuildInfo: without a version from the linker it is the go command's.
func TestVersionDefaultsToBuildInfo(t *testing.T) {
	t.Parallel()
	if v := (App{Version: "v9"}).Build().Version; v != "v9" {
		t.Errorf("version %q", v)
	}
	if v := (App{}).Build().Version; v == "" {
		t.Error("no version")
	}
}

func TestGetenv(t *testing.T) {
	t.Parallel()
	a := App{Environ: []string{"A=1", "AB=2", "A=3", "C=x=y"}}
	for name, want := range map[string]string{"A": "3", "AB": "2", "C": "x=y", "D": ""} {
		if got := a.Getenv(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
