package match

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPatternAgreesWithRegexp: a pattern matches what the regular expression of the same meaning
// matches.
func TestPatternAgreesWithRegexp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		alphabet := []rune{'a', 'B', 'ä', '-', '/', '—', '*', '?', '\\', ' '}
		source := rapid.StringOfN(rapid.SampledFrom(alphabet), 0, 8, -1).Draw(t, "pattern")
		text := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', 'Ä', '-', '/', '—', '*', '?', '\\'}), 0, 8, -1).Draw(t, "text")
		cased := rapid.Bool().Draw(t, "cased")
		p := parsePattern(source)
		for _, change := range []func(pattern) pattern{pattern.openStart, pattern.openEnd, pattern.withDashes} {
			if rapid.Bool().Draw(t, "change") {
				p = change(p)
			}
		}
		want := expressionOf(p, cased).MatchString(text)
		if got := p.compile(cased).matches(text); got != want {
			t.Fatalf("%q matches %q: %t, by %s: %t", source, text, got, expressionOf(p, cased), want)
		}
	})
}

// expressionOf writes a pattern as a regular expression, part by part.
func expressionOf(p pattern, cased bool) *regexp.Regexp {
	b := strings.Builder{}
	b.WriteString(`(?s`)
	if !cased {
		b.WriteString(`i`)
	}
	b.WriteString(`)^`)
	for _, el := range p {
		switch el.wild {
		case anyText:
			b.WriteString(`.*`)
		case anyChar:
			b.WriteString(`.`)
		case anyDash:
			b.WriteString(`[-/–—―]`)
		default:
			b.WriteString(regexp.QuoteMeta(el.text))
		}
	}
	b.WriteString(`$`)
	return regexp.MustCompile(b.String())
}
