package spelling_test

import (
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/spelling"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"block", "blocks", "unblock", "check", "dead-letters", "run"}
	for wrong, want := range map[string]string{
		"blcok": "block", "Blocks": "blocks", "bloks": "blocks", "unblok": "unblock", "chekc": "check", "deadletters": "dead-letters",
		"dead-leters": "dead-letters", "rn": "run", "nonsense": "", "": "", "x": "", strings.Repeat("block", 100): "", "\xff\xfe": "",
	} {
		if got := spelling.Nearest(wrong, known); got != want {
			t.Errorf("nearest to %.20q is %q, want %q", wrong, got, want)
		}
	}
	if got := spelling.Suggestion("bloks", known); got != `; did you mean "blocks"?` {
		t.Errorf("suggestion %q", got)
	}
	if got := spelling.Suggestion("nonsense", known); got != "" {
		t.Errorf("suggestion %q", got)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"abc", "abc"}: 0, {"abc", "acb"}: 1, {"abc", "ab"}: 1, {"abc", "xabc"}: 1, {"abcd", "badc"}: 2, {"kitten", "sitting"}: 3,
		{strings.Repeat("a", 65), "a"}: 64,
	} {
		for _, p := range [][2]string{pair, {pair[1], pair[0]}} {
			if got := spelling.Distance(p[0], p[1]); got != want {
				t.Errorf("from %.10q to %.10q it is %d, want %d", p[0], p[1], got, want)
			}
		}
	}
}
