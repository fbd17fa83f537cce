package checker

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

const (
	// maxScopeValue is the longest value that is kept whole, in bytes. Stores, logs and events carry values.
	maxScopeValue = 4096
	// valueMark is what the hash of a value that was replaced is written after.
	valueMark = "~sha256-"
	// valueHash is how many bytes of the hash are written: enough that nobody finds two values with one.
	valueHash = 16
)

// scopeValue returns v in the form in which it can be stored and shown everywhere: UTF-8 without NUL, of at most maxScopeValue bytes.
// Nearly all values are so already. What had to be replaced or cut ends in a hash of the bytes it came from, so
// that two values never become one. Detection and ingress agree because both ask here.
func scopeValue(v string) string {
	if isPlainValue(v) || len(v) <= maxScopeValue && utf8.ValidString(v) && strings.IndexByte(v, 0) < 0 && !strings.Contains(v, valueMark) {
		return v
	}
	sum := sha256.Sum256([]byte(v))
	suffix := valueMark + hex.EncodeToString(sum[:valueHash])
	return CleanText(v, maxScopeValue-len(suffix)) + suffix
}

// isPlainValue reports whether v is short and of ASCII that needs no closer look, as nearly all values are.
func isPlainValue(v string) bool {
	if len(v) > 64 {
		return false
	}
	for i := range len(v) {
		if c := v[i]; c == 0 || c == '~' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// CleanText returns text as UTF-8 without NUL, of at most n bytes: each byte that is not part of a character, each surrogate that
// is written as if it were one, and each NUL becomes U+FFFD, and the rest is cut off at a character's start. It copies only
// what it changes.
func CleanText(text string, n int) string {
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		text = replaced(text, n)
	}
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// replaced returns the beginning of text, which is longer than n if text is, with U+FFFD for what is no text.
func replaced(text string, n int) string {
	var out strings.Builder
	for i := 0; i < len(text) && out.Len() <= n; {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == 0 {
			r = utf8.RuneError
		}
		if r == utf8.RuneError && size == 1 && isSurrogate(text[i:]) {
			size = 3
		}
		out.WriteRune(r)
		i += size
	}
	return out.String()
}

// isSurrogate reports whether text begins with the three bytes that a surrogate would have.
func isSurrogate(text string) bool {
	return len(text) >= 3 && text[0] == 0xed && text[1] >= 0xa0 && text[1] <= 0xbf && text[2] >= 0x80 && text[2] <= 0xbf
}
