package match

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A folded is text to compare with: as it is, or in lower case if case does not count.
type folded struct {
	text  string
	cased bool
	ascii bool // text is ASCII, so that bytes can be compared
}

// fold returns what makes folded text.
type fold bool

func (cased fold) of(text string) folded {
	f := folded{text: text, cased: bool(cased), ascii: true}
	if !cased {
		f.text = strings.Map(unicode.ToLower, text)
	}
	for i := range len(f.text) {
		f.ascii = f.ascii && f.text[i] < utf8.RuneSelf
	}
	return f
}

// lower returns the lower case of an ASCII character.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// prefixLen returns how many bytes of s the text takes at its start, -1 if s does not begin with
// it.
func (f *folded) prefixLen(s string) int {
	switch {
	case f.cased:
		if !strings.HasPrefix(s, f.text) {
			return -1
		}
		return len(f.text)
	case f.ascii:
		if len(s) < len(f.text) {
			return -1
		}
		for i := range len(f.text) {
			if lower(s[i]) != f.text[i] {
				return -1
			}
		}
		return len(f.text)
	}
	at := 0
	for _, want := range f.text {
		r, n := utf8.DecodeRuneInString(s[at:])
		if n == 0 || unicode.ToLower(r) != want {
			return -1
		}
		at += n
	}
	return at
}

// index returns where the text begins in s first; -1 if it is not there.
func (f *folded) index(s string) int {
	if f.cased {
		return strings.Index(s, f.text)
	}
	if f.text == "" {
		return 0
	}
	first := f.text[0]
	for i := range len(s) {
		if f.ascii && lower(s[i]) != first || !f.ascii && !utf8.RuneStart(s[i]) {
			continue
		}
		if f.prefixLen(s[i:]) >= 0 {
			return i
		}
	}
	return -1
}

func (f *folded) isSuffix(s string) bool {
	if f.cased {
		return strings.HasSuffix(s, f.text)
	}
	if f.ascii {
		return len(s) >= len(f.text) && f.prefixLen(s[len(s)-len(f.text):]) >= 0
	}
	at := len(s)
	for range utf8.RuneCountInString(f.text) {
		_, n := utf8.DecodeLastRuneInString(s[:at])
		at -= n
	}
	return f.prefixLen(s[at:]) == len(s)-at
}

type (
	equal    struct{ folded }
	prefix   struct{ folded }
	suffix   struct{ folded }
	contains struct{ folded }
	anything struct{}
)

func (v equal) matches(text string) bool    { return v.prefixLen(text) == len(text) }
func (v prefix) matches(text string) bool   { return v.prefixLen(text) >= 0 }
func (v suffix) matches(text string) bool   { return v.isSuffix(text) }
func (v contains) matches(text string) bool { return v.index(text) >= 0 }
func (anything) matches(string) bool        { return true }

// A glob is a pattern that is more than one literal between two wildcards: runs of literals and
// single characters, with any text between them.
type glob struct {
	runs       [][]piece
	start, end bool // any text may stand before the first run, after the last
}

// A piece is a literal, or a wildcard for one character.
type piece struct {
	folded
	wild wildcard
}

func newGlob(p pattern, f fold) *glob {
	g := &glob{start: p.begins(anyText), end: p.ends(anyText)}
	var run []piece
	for _, el := range p {
		switch {
		case el.wild == anyText && len(run) > 0:
			g.runs, run = append(g.runs, run), nil
		case el.wild == anyText:
		case el.wild == 0:
			run = append(run, piece{folded: f.of(el.text)})
		default:
			run = append(run, piece{wild: el.wild})
		}
	}
	if len(run) > 0 {
		g.runs = append(g.runs, run)
	}
	return g
}

// matches takes each run as early as it can, which finds a match if there is one; the last must
// reach the end. Time is O(len(text) · length of the pattern).
func (g *glob) matches(text string) bool {
	for i, run := range g.runs {
		last := i == len(g.runs)-1 && !g.end
		var n int
		switch {
		case i == 0 && !g.start:
			n = runLen(run, text)
		case last:
			return endsWith(run, text)
		default:
			n = after(run, text)
		}
		if n < 0 || last && n != len(text) {
			return false
		}
		text = text[n:]
	}
	return true
}

// runLen returns how many bytes of text the run takes at its start, -1 if text does not begin with
// it.
func runLen(run []piece, text string) int {
	at := 0
	for i := range run {
		p := &run[i]
		if p.wild == 0 {
			n := p.prefixLen(text[at:])
			if n < 0 {
				return -1
			}
			at += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[at:])
		if n == 0 || p.wild == anyDash && !strings.ContainsRune(dashes, r) {
			return -1
		}
		at += n
	}
	return at
}

// after returns the end of the first place in text where the run stands, -1 if there is none.
func after(run []piece, text string) int {
	for at := 0; at <= len(text); at++ {
		if run[0].wild == 0 {
			next := run[0].index(text[at:])
			if next < 0 {
				return -1
			}
			at += next
		} else if at < len(text) && !utf8.RuneStart(text[at]) {
			continue
		}
		if n := runLen(run, text[at:]); n >= 0 {
			return at + n
		}
	}
	return -1
}

// endsWith reports whether the run stands at the end of text.
func endsWith(run []piece, text string) bool {
	for at := 0; at <= len(text); at++ {
		if (at == len(text) || utf8.RuneStart(text[at])) && runLen(run, text[at:]) == len(text)-at {
			return true
		}
	}
	return false
}
