package event

import "strings"

// Placeholders are texts that stand for the lack of a value, such as "None". They are compared without regard to case and
// surrounding blanks. A nil *Placeholders holds none. It is immutable.
type Placeholders struct {
	texts   map[string]struct{}
	begins  [256]bool // the first bytes of texts, in either case
	longest int
}

// DefaultPlaceholders returns what languages and frameworks print for the lack of a value.
func DefaultPlaceholders() []string {
	return []string{
		"None", "null", "undefined", "nil", "NaN", "-", "anonymous", "AnonymousUser", "<nil>", "<null>", "(null)", "[object Object]",
		"00000000-0000-0000-0000-000000000000",
	}
}

// maxPlaceholder is the longest text that may be a placeholder, in bytes.
const maxPlaceholder = 64

// NewPlaceholders returns a set of texts; those of more than 64 bytes are left out.
func NewPlaceholders(texts []string) *Placeholders {
	p := &Placeholders{texts: make(map[string]struct{}, len(texts))}
	for _, text := range texts {
		text = strings.ToLower(strings.TrimSpace(text))
		if text == "" || len(text) > maxPlaceholder {
			continue
		}
		p.texts[text] = struct{}{}
		p.begins[text[0]] = true
		p.begins[strings.ToUpper(text[:1])[0]] = true
		p.longest = max(p.longest, len(text))
	}
	return p
}

// Holds reports whether text is a placeholder.
func (p *Placeholders) Holds(text string) bool {
	if !p.may(text) {
		return false
	}
	text = strings.TrimSpace(text)
	if text == "" || len(text) > p.longest {
		return false
	}
	var lower [maxPlaceholder]byte
	for i := range len(text) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	_, ok := p.texts[string(lower[:len(text)])]
	return ok
}

// HoldsID reports whether text is a placeholder, or a zero, where an ID is wanted: "0", "0.0", "00000000".
func (p *Placeholders) HoldsID(text string) bool {
	return p.may(text) && isZero(text) || p.Holds(text)
}

// may reports whether text may be a placeholder, or a zero, by how it begins: nearly no value does.
func (p *Placeholders) may(text string) bool {
	if p == nil || text == "" {
		return false
	}
	c := text[0]
	return p.begins[c] || c <= ' ' || c >= 0x80 || c == '0' || c == '-'
}

// isZero reports whether text is a zero, however it is written.
func isZero(text string) bool {
	text = strings.TrimPrefix(strings.TrimSpace(text), "-")
	zeros, points := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '0':
			zeros++
		case '.':
			points++
		default:
			return false
		}
	}
	return zeros > 0 && points <= 1
}
