package wire

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func printable(raw []byte) bool {
	return utf8.Valid(raw) && !bytes.ContainsFunc(raw, func(r rune) bool { return !unicode.IsPrint(r) })
}

// FuzzPrintableJSON: it can't drive a terminal, and says what it said before.
func FuzzPrintableJSON(f *testing.F) {
	for _, seed := range []string{"plain", "Zoë 山", "\x7f", "\u009b31m", "\u202egnp.exe", "\u200b", "\U000e0001", "\xff", "\ufffd", "\x1b[2J\r\n\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := json.Marshal([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		var before, after []string
		safe := PrintableJSON(raw)
		if !printable(safe) {
			t.Errorf("%q is %q", raw, safe)
		}
		if err := json.Unmarshal(raw, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &after); err != nil || before[0] != after[0] {
			t.Errorf("%q became %q, %v", before, after, err)
		}
	})
}

// TestPrintableWriter: a log's lines are fit for a terminal, whatever is logged.
func TestPrintableWriter(t *testing.T) {
	t.Parallel()
	const evil = "a\x1b[2J\r\nb\u009b31m\u202e\x7f\x00\xff"
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(PrintableWriter(&out), nil)).Warn("hello", "value", evil)
	line, _ := strings.CutSuffix(out.String(), "\n")
	var entry struct{ Value string }
	if err := json.Unmarshal([]byte(line), &entry); err != nil || !printable([]byte(line)) || entry.Value != strings.ToValidUTF8(evil, "\ufffd") {
		t.Errorf("%q: %q, %v", line, entry.Value, err)
	}
	var text bytes.Buffer // which slog quotes by itself
	slog.New(slog.NewTextHandler(&text, nil)).Warn("hello", "value", evil)
	if line, _ := strings.CutSuffix(text.String(), "\n"); !printable([]byte(line)) {
		t.Errorf("%q", line)
	}
}

// TestEnforcementIsPrintable: so are the lines of enforcement events.
func TestEnforcementIsPrintable(t *testing.T) {
	t.Parallel()
	e := Enforcement{Type: TypeBlockApplied, Rule: "r", UserID: "a\u009b\u202e\x7f\n"}
	e.Scope.Type, e.Scope.Value = "username", "\u009b2J"
	line, err := EncodeEnforcement(e, Origin{})
	if err != nil || !printable(line) || !strings.Contains(string(line), `"a\u009b\u202e\u007f\n"`) {
		t.Errorf("%q, %v", line, err)
	}
}
