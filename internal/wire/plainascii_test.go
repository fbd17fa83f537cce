package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPlainASCII compares it with the plain definition, with each byte at each place.
func TestPlainASCII(t *testing.T) {
	t.Parallel()
	for length := range 20 {
		for at := range max(length, 1) {
			for c := range 256 {
				text := []byte(strings.Repeat("a", length))
				if length > 0 {
					text[at] = byte(c)
				}
				want := length == 0 || c > 0 && c < utf8.RuneSelf
				if got := plainASCII(string(text)); got != want {
					t.Fatalf("%q: %v", text, got)
				}
			}
		}
	}
}
