package wire

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// PrintableJSON returns encoded JSON with everything escaped that a terminal would not show as it
// is, such as control characters past ASCII and direction marks: a client may have chosen the text
// to attack the terminal of its reader. JSON does not escape those by itself, and the value is the
// same either way. It may return raw itself.
func PrintableJSON(raw []byte) []byte {
	start := 0
	for start < len(raw) && raw[start] < 0x7f {
		start++
	}
	if start == len(raw) {
		return raw
	}
	safe := append(make([]byte, 0, len(raw)+32), raw[:start]...)
	for rest := raw[start:]; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r < 0x7f, unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			safe = append(safe, rest[:size]...)
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				safe = fmt.Appendf(safe, `\u%04x`, unit)
			}
		}
		rest = rest[size:]
	}
	return safe
}

// PrintableWriter makes lines of JSON that are written to w, whole ones at a time, [PrintableJSON].
func PrintableWriter(w io.Writer) io.Writer { return printableWriter{w} }

type printableWriter struct{ w io.Writer }

func (p printableWriter) Write(line []byte) (int, error) {
	if _, err := p.w.Write(PrintableJSON(line)); err != nil {
		return 0, err //nolint:wrapcheck // a writer's own error
	}
	return len(line), nil
}
