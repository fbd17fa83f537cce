package event

import "strings"

// Placeholders is a set of texts that mean that a value is missing, such as "None". Comparison
// ignores case and surrounding blanks. It is immutable; a nil *Placeholders is empty.
type Placeholders struct {
	texts   map[string]struct{}
	lengths [256]uint64 // by the first byte of a text, in either case: bit n-1 is set if one of n bytes begins so
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
		p.lengths[text[0]] |= 1 << (len(text) - 1)
		p.lengths[strings.ToUpper(text[:1])[0]] |= 1 << (len(text) - 1)
	}
	return p
}

// Holds reports whether text is a placeholder.
func (p *Placeholders) Holds(text string) bool { return p.may(text) && p.holds(text) }

// HoldsID reports whether text, used as an ID, is a placeholder or zero: "0", "0.0", "00000000".
func (p *Placeholders) HoldsID(text string) bool {
	return p.mayID(text) && (isZero(text) || p.holds(text))
}

// may reports, by its length and its first and last bytes, whether text can be a placeholder. It is
// a fast path: nearly no value can.
func (p *Placeholders) may(text string) bool {
	n := len(text)
	if p == nil || n == 0 {
		return false
	}
	first, last := text[0], text[n-1]
	return n <= maxPlaceholder && p.lengths[first]>>(n-1)&1 != 0 || isEdge(first) || isEdge(last)
}

// mayID is may for placeholders and zero.
func (p *Placeholders) mayID(text string) bool {
	return p.may(text) || p != nil && text != "" && (text[0] == '0' || text[0] == '-')
}

// isEdge reports whether a byte at the beginning or end of a text may be of a blank.
func isEdge(c byte) bool { return c <= ' ' || c >= 0x80 }

func (p *Placeholders) holds(text string) bool {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxPlaceholder {
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
