package cli

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxCell is how much of a value a table shows, in characters. JSON shows all of it.
const MaxCell = 80

// Printable returns s as a terminal may show it: others have chosen it, perhaps to deceive its
// reader. What can't be printed is escaped, and then the whole is in quotes.
func Printable(s string) string {
	if cut := Clip(s); cut != s {
		s = cut + "…"
	}
	if s == "" {
		return "-"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) || strings.TrimSpace(s) != s {
		return strconv.Quote(s)
	}
	return s
}

// Clip returns at most [MaxCell] characters of s.
func Clip(s string) string {
	left := MaxCell
	for i := range s {
		if left--; left < 0 {
			return s[:i]
		}
	}
	return s
}

// OneLine makes an error fit for one line of a terminal. Lines, as of errors that are several,
// become clauses.
func OneLine(s string) string {
	var clauses []string
	for line := range strings.Lines(s) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			clauses = append(clauses, strings.TrimSuffix(line, ";"))
		}
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.Join(clauses, "; "))
}

// Timestamp writes a time to the second, in UTC; "" for the zero time.
func Timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
