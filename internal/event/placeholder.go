package event

import "strings"

// Placeholders is a set of texts that mean that a value is missing, such as "None". Comparison ignores
// case and surrounding blanks. It is immutable; a nil *Placeholders is empty.
type Placeholders struct {
	texts   map[string]struct{}
	begins  [256]bool // the first bytes of texts, in either case
	longest int
}

// DefaultPlaceholders returns what common languages and frameworks print for a missing value.
func DefaultPlaceholders() []string {
	return []string{
		"None", "null", "undefined", "nil", "NaN", "-", "anonymous", "AnonymousUser", "<nil>", "<null>", "(null)", "[object Object]",
		"00000000-0000-0000-0000-000000000000",
	}
}

// maxPlaceholder is the maximum length of a placeholder, in bytes.
const maxPlaceholder = 64

// NewPlaceholders returns the set of texts, without those of more than 64 bytes.
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

// HoldsID reports whether text, used as an ID, is a placeholder or zero: "0", "0.0", "00000000".
func (p *Placeholders) HoldsID(text string) bool {
	return p.may(text) && isZero(text) || p.Holds(text)
}

// may reports, by its first byte, whether text can be a placeholder or zero. It is a fast path: nearly all
// values cannot.
func (p *Placeholders) may(text string) bool {
	if p == nil || text == "" {
		return false
	}
	c := text[0]
	return p.begins[c] || c <= ' ' || c >= 0x80 || c == '0' || c == '-'
}

// isZero reports whether text is zero in any notation.
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
