package wire

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// repair returns JSON text in which what serialisers write although it is not JSON is written
// right: control characters within strings, escapes such as \x41, and the numbers NaN and Infinity,
// which become strings. Clients choose such text, and what they choose must not make an event
// unreadable. changed is false where there is nothing of the kind.
func repair(text string) (fixed string, changed bool) {
	var out strings.Builder
	out.Grow(len(text) + grown(text))
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case !inString:
			if word := bareWord(text[i:]); word != "" {
				out.WriteString(`"` + word + `"`)
				i += len(word) - 1
				changed = true
				continue
			}
			inString = c == '"'
		case c == '"':
			inString = false
		case c == '\\' && i+1 < len(text):
			i++
			if escape, n := escapeOf(text[i:]); n > 0 {
				out.WriteString(escape)
				i += n - 1
				changed = changed || escape != `\`+text[i-n+1:i+1]
				continue
			}
			out.WriteString(`\\`)
			i--
			changed = true
			continue
		case c < ' ':
			out.WriteString(`\u00`)
			out.WriteString(hexByte(c))
			changed = true
			continue
		}
		out.WriteByte(c)
	}
	return out.String(), changed
}

// grown is how much longer text with its control characters escaped is at most.
func grown(text string) int {
	n := 0
	for i := range len(text) {
		if text[i] < ' ' {
			n += len(`\u0000`) - 1
		}
	}
	return n
}

// bareWord is the number at the beginning of text that JSON does not know, or "".
func bareWord(text string) string {
	switch text[0] {
	case 'N', 'I', '-':
	default:
		return ""
	}
	for _, word := range [...]string{"NaN", "Infinity", "-Infinity", "-NaN"} {
		if strings.HasPrefix(text, word) {
			return word
		}
	}
	return ""
}

// escapeOf returns what to write for the escape whose backslash stands before text, and how long it
// is after the backslash; 0 for what is not an escape.
func escapeOf(text string) (escape string, n int) {
	switch text[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return `\` + text[:1], 1
	case 'u':
		if len(text) > 4 && isHex(strings.ToLower(text[1:5])) {
			return `\` + text[:5], 5
		}
	case 'x':
		if len(text) > 2 && isHex(strings.ToLower(text[1:3])) {
			return `\u00` + text[1:3], 3
		}
	}
	return "", 0
}

func hexByte(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// unescape returns the bytes that the inside of a JSON string stands for. Surrogates that are not
// paired are written as if they were characters, so that two strings are the same only if they were
// meant to be.
func unescape(raw string) string {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			out = append(out, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			unit := unitAt(raw, i)
			i += 4
			if utf16.IsSurrogate(unit) {
				if r := utf16.DecodeRune(unit, unitAt(raw, i+2)); r != utf8.RuneError && strings.HasPrefix(raw[i+1:], `\u`) {
					unit = r
					i += 6
				}
			}
			out = appendRune(out, unit)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// unitAt returns the UTF-16 unit whose u is raw[i], or 0.
func unitAt(raw string, i int) rune {
	if i+5 > len(raw) {
		return 0
	}
	n, _ := strconv.ParseUint(raw[i+1:i+5], 16, 16)
	return rune(n)
}

// appendRune appends r, or the three bytes that a surrogate would have.
func appendRune(out []byte, r rune) []byte {
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(out, r)
	}
	return append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f) //nolint:gosec // parts of 16 bits
}

// flatten returns JSON text in which objects and lists that lie more than depth within one another
// are null. What is not well-formed stays so, unless it is left out.
func flatten(text string, depth int) string {
	var out strings.Builder
	inString, level, from := false, 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if level++; level == depth+1 {
				out.WriteString(text[from:i])
				out.WriteString("null")
			}
		case c == '}' || c == ']':
			if level--; level == depth {
				from = i + 1
			}
		}
	}
	if level <= depth {
		out.WriteString(text[min(from, len(text)):])
	}
	return out.String()
}

// shortNumber returns a JSON number of at most limit bytes that is as large as raw, but for digits
// that no rule can ask for.
func shortNumber(raw string, limit int) string {
	if len(raw) <= limit {
		return raw
	}
	sign, number := "", raw
	if strings.HasPrefix(number, "-") {
		sign, number = "-", number[1:]
	}
	mantissa, exponent := number, ""
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa, exponent = number[:i], number[i+1:]
	}
	const room = 24 // for the exponent, its sign and the e
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0"
	}
	exp := parseExponent(exponent) - int64(len(fraction))
	if kept := max(limit-room, 1); len(digits) > kept {
		exp += int64(len(digits) - kept)
		digits = digits[:kept]
	}
	return sign + digits + "e" + strconv.FormatInt(exp, 10)
}

// parseExponent reads an exponent; one that is out of all proportion is taken for a very large or
// small one.
func parseExponent(text string) int64 {
	if text == "" {
		return 0
	}
	const most = 1_000_000_000_000_000 // room is left to add the digits of any number
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > most || n < -most {
		if strings.HasPrefix(text, "-") {
			return -most
		}
		return most
	}
	return n
}
