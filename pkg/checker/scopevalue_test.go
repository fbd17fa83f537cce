package checker

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestScopeValuesStayDistinct: whatever bytes a value is made of, it is text that every store
// takes, the same in detection and at ingress, and no other value becomes it.
func TestScopeValuesStayDistinct(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 3000)
	values := []string{
		"eve", "ev\xffe", "ev\xfee", "ev\ufffde", "ev\x00e", "ev\x00\x00e", "\xed\xa0\x80", "\xed\xb0\x80", "\xff", "\xff\xff", long, long + "1", long[1:], strings.Repeat("x", 4096),
		strings.Repeat("x", 4097), strings.Repeat("x", 300<<10), "a~sha256-b",
	}
	for _, v := range slices.Clone(values) { // and those who call themselves what another became
		if s, _ := NewScope(ScopeUser, v); s.Value != v {
			values = append(values, s.Value)
		}
	}
	seen := map[string]string{}
	for _, v := range values {
		s, ok := NewScope(ScopeUser, v)
		if !ok || !utf8.ValidString(s.Value) || strings.Contains(s.Value, "\x00") || len(s.Value) > maxScopeValue {
			t.Errorf("%.20q became %.20q", v, s.Value)
		}
		if other, taken := seen[s.Value]; taken {
			t.Errorf("%.20q and %.20q are one: %.80q", v, other, s.Value)
		}
		seen[s.Value] = v
		p := plan{order: precedence(nil)}
		for _, asked := range [][]Scope{p.scopes(&Subject{User: v}), p.scopes(&Subject{Extra: map[string]string{ScopeUser: v}})} {
			if !slices.Contains(asked, s) {
				t.Errorf("ingress asks for %.20q, detection blocks %.20q", asked, s)
			}
		}
	}
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		n    int
		want string
	}{
		{"eve", 3, "eve"},
		{"eve", 2, "ev"},
		{"é", 1, ""},
		{"aé", 2, "a"},
		{"", 0, ""},
		{"eve", 0, ""},
		{"\xffe", 4, "\ufffde"},
		{"\xffe", 3, "\ufffd"},
		{"\xffe", 2, ""},
		{"a\x00b", 9, "a\ufffdb"},
		{"\xed\xa0\x80b", 9, "\ufffdb"},
		{"\xed\xa0", 9, "\ufffd\ufffd"},
		{"\ufffd", 9, "\ufffd"},
		{"\xf0\x9f\x98", 9, "\ufffd\ufffd\ufffd"},
	} {
		if got := CleanText(tc.text, tc.n); got != tc.want {
			t.Errorf("CleanText(%q, %d) = %q, want %q", tc.text, tc.n, got, tc.want)
		}
	}
}
