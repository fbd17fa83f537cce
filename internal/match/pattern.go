package match

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A pattern is text with wildcards, as [Sigma's wildcards and escaping] has it: * stands for any
// text, ? for one character, and a backslash before one of the three for the character itself.
// Other backslashes are plain.
//
// [Sigma's wildcards and escaping]: https://sigmahq.io/docs/basics/rules.html#escaping
type pattern []element

// An element is a literal, if text is not empty, or else a wildcard.
type element struct {
	text string
	wild wildcard
}

type wildcard uint8

const (
	anyText wildcard = iota + 1 // *
	anyChar                     // ?
	anyDash                     // one of dashes
)

// dashes are the characters that Windows programs take for the one before an option.
const dashes = "-/–—―"

func parsePattern(text string) pattern {
	var p pattern
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			p = append(p, element{text: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && strings.IndexByte(`\*?`, text[i+1]) >= 0:
			i++
			literal.WriteByte(text[i])
		case c == '*':
			flush()
			if len(p) == 0 || p[len(p)-1].wild != anyText {
				p = append(p, element{wild: anyText})
			}
		case c == '?':
			flush()
			p = append(p, element{wild: anyChar})
		default:
			literal.WriteByte(c)
		}
	}
	flush()
	return p
}

// literal returns the text of a pattern without wildcards.
func (p pattern) literal() (string, bool) {
	switch {
	case len(p) == 0:
		return "", true
	case len(p) == 1 && p[0].wild == 0:
		return p[0].text, true
	}
	return "", false
}

func (p pattern) begins(w wildcard) bool { return len(p) > 0 && p[0].wild == w }
func (p pattern) ends(w wildcard) bool   { return len(p) > 0 && p[len(p)-1].wild == w }

// openStart and openEnd put a * before and after the pattern, unless one is there.
func (p pattern) openStart() pattern {
	if p.begins(anyText) {
		return p
	}
	return append(pattern{{wild: anyText}}, p...)
}

func (p pattern) openEnd() pattern {
	if p.ends(anyText) {
		return p
	}
	return append(p[:len(p):len(p)], element{wild: anyText})
}

// transform applies f to every literal.
func (p pattern) transform(f func(string) string) pattern {
	out := make(pattern, len(p))
	for i, el := range p {
		if out[i] = el; el.wild == 0 {
			out[i].text = f(el.text)
		}
	}
	return out
}

// withDashes replaces each dash and slash that begins an option by any of dashes: one before a word
// character and not after one.
func (p pattern) withDashes() pattern {
	var out pattern
	word := false // the character before is one of a word
	for _, el := range p {
		if el.wild != 0 {
			out, word = append(out, el), false
			continue
		}
		start := 0
		for i, r := range el.text {
			next, _ := utf8.DecodeRuneInString(el.text[i+utf8.RuneLen(r):])
			if (r == '-' || r == '/') && !word && i+1 < len(el.text) && isWord(next) {
				if start < i {
					out = append(out, element{text: el.text[start:i]})
				}
				out, start = append(out, element{wild: anyDash}), i+1
			}
			word = isWord(r)
		}
		if start < len(el.text) {
			out = append(out, element{text: el.text[start:]})
		}
	}
	return out
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// compile returns the value that a pattern describes.
func (p pattern) compile(cased bool) value {
	f := fold(cased)
	if text, ok := p.literal(); ok {
		return equal{f.of(text)}
	}
	middle, start, end := p, p.begins(anyText), p.ends(anyText)
	if start {
		middle = middle[1:]
	}
	if end && len(middle) > 0 {
		middle = middle[:len(middle)-1]
	}
	text, ok := middle.literal()
	switch {
	case !ok:
		return newGlob(p, f)
	case text == "":
		return anything{}
	case start && end:
		return contains{f.of(text)}
	case start:
		return suffix{f.of(text)}
	default:
		return prefix{f.of(text)}
	}
}
