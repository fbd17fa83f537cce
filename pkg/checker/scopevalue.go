package checker

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

const (
	// maxScopeValue is the maximum length of a value, in bytes.
	maxScopeValue = 4096
	// valueMark separates a changed value from the hash of the original.
	valueMark = "~sha256-"
	// valueHash is how many bytes of the hash are kept: enough to make collisions infeasible.
	valueHash = 16
)

// scopeValue returns v as UTF-8 without NUL, of at most maxScopeValue bytes, which every store, log
// and event can hold. Nearly all values are returned unchanged. A changed value ends in a hash of
// the original, so that two different values never become equal. Detection and ingress both use it.
func scopeValue(v string) string {
	if isPlainValue(v) || len(v) <= maxScopeValue && utf8.ValidString(v) && strings.IndexByte(v, 0) < 0 && !strings.Contains(v, valueMark) {
		return v
	}
	sum := sha256.Sum256([]byte(v))
	suffix := valueMark + hex.EncodeToString(sum[:valueHash])
	return CleanText(v, maxScopeValue-len(suffix)) + suffix
}

// isPlainValue reports whether v is short plain ASCII, as nearly all values are: the fast path.
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

// CleanText returns text as valid UTF-8 without NUL, of at most n bytes. Each invalid byte, encoded
// surrogate and NUL becomes U+FFFD, and the text is cut at a character boundary. It copies only if
// something has to be replaced.
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

// replaced returns the start of text with U+FFFD in place of invalid bytes. It stops once the
// result exceeds n bytes.
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

// isSurrogate reports whether text starts with the three bytes of an encoded surrogate.
func isSurrogate(text string) bool {
	return len(text) >= 3 && text[0] == 0xed && text[1] >= 0xa0 && text[1] <= 0xbf && text[2] >= 0x80 && text[2] <= 0xbf
}
