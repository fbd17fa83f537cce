package match

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
)

// maxVariants is how many patterns one value may stand for: each dash of windash stands for five.
const maxVariants = 3125

// apply returns the patterns that a value stands for once its text modifiers are applied, in their
// order.
func (m *modifiers) apply(t tree) ([]pattern, error) {
	patterns := []pattern{parsePattern(t.text)}
	for _, name := range m.texts {
		var next []pattern
		for _, p := range patterns {
			changed, err := applyOne(name, p, t.line)
			if err != nil {
				return nil, err
			}
			if next = append(next, changed...); len(next) > maxVariants {
				return nil, refuse(t.line, "the modifiers make more than %d variants of one value", maxVariants)
			}
		}
		patterns = next
	}
	return patterns, nil
}

func applyOne(name string, p pattern, line int) ([]pattern, error) {
	switch name {
	case "contains":
		return []pattern{p.openStart().openEnd()}, nil
	case "startswith":
		return []pattern{p.openEnd()}, nil
	case "endswith":
		return []pattern{p.openStart()}, nil
	case "windash":
		return []pattern{p.withDashes()}, nil
	case "wide", "utf16le":
		return []pattern{p.transform(utf16Text(false))}, nil
	case "utf16be":
		return []pattern{p.transform(utf16Text(true))}, nil
	case "utf16":
		return []pattern{append(pattern{{text: "\xff\xfe"}}, p.transform(utf16Text(false))...)}, nil
	}
	return encodeBase64(name, p, line)
}

// utf16Text returns a function that encodes text in UTF-16, least significant byte first unless
// big.
func utf16Text(big bool) func(string) string {
	return func(text string) string {
		var out []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			if big {
				out = binary.BigEndian.AppendUint16(out, unit)
			} else {
				out = binary.LittleEndian.AppendUint16(out, unit)
			}
		}
		return string(out)
	}
}

// encodeBase64 encodes the text of a pattern. With base64offset it returns what the text looks like
// inside a longer encoded text, at each of the three offsets, without the characters that its
// neighbours change.
func encodeBase64(name string, p pattern, line int) ([]pattern, error) {
	var out []pattern
	for _, text := range p.variants() {
		if text == nil {
			return nil, refuse(line, "a value with wildcards cannot be encoded by %s", name)
		}
		if name == "base64" {
			out = append(out, literal(base64.StdEncoding.EncodeToString(text)))
			continue
		}
		for offset, start := range [...]int{0, 2, 3} {
			encoded := base64.StdEncoding.EncodeToString(append(slices.Repeat([]byte{' '}, offset), text...))
			end := len(encoded) - [...]int{0, 3, 2}[(len(text)+offset)%3]
			if start < end {
				out = append(out, literal(encoded[start:end]))
			}
		}
	}
	if len(out) == 0 {
		return nil, refuse(line, "the value is too short for %s", name)
	}
	return out, nil
}

func literal(text string) pattern {
	if text == "" {
		return nil
	}
	return pattern{{text: text}}
}

// variants returns the texts that a pattern stands for, one for each choice of dashes; nil for one
// with other wildcards.
func (p pattern) variants() [][]byte {
	out := [][]byte{{}}
	for _, el := range p {
		choices := []string{el.text}
		switch el.wild {
		case anyDash:
			choices = strings.Split(dashes, "")
		case anyText, anyChar:
			return [][]byte{nil}
		}
		var next [][]byte
		for _, before := range out {
			for _, choice := range choices {
				next = append(next, append(slices.Clip(before), choice...))
			}
		}
		if out = next; len(out) > maxVariants {
			break
		}
	}
	return out
}
