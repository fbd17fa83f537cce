package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// An Error says what is wrong with one setting. It is one line.
type Error struct {
	// Source is the file, the variable or the flag that holds the setting.
	Source string
	Line   int    // in the file; 0 elsewhere
	Key    string // such as "rules[0].threshold", or ""
	Reason string // what is wrong and what to do
}

func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Source)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	return oneLine(b.String() + ": " + e.Reason)
}

// Errors are all that is wrong, in the order of the file, then of the
// environment and the flags.
type Errors []Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sorted puts what is in the file first, by line, and drops repeats.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(min(1, b.Line), min(1, a.Line)), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(e)
}

// oneLine makes s fit for one line of a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
}

// maxQuoted is how much of a value an error repeats, in bytes.
const maxQuoted = 64

func quote(s string) string {
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

// suggest returns `; did you mean "x"?` for the known name nearest to the
// wrong one, or "" if none is near.
func suggest(wrong string, known []string) string {
	best, least := "", max(len(wrong)/3, 1)+1
	for _, name := range known {
		if n := distance(wrong, name); n < least {
			best, least = name, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of letters to insert, remove or replace to make b of
// a. What is much longer than any key is far from everything.
func distance(a, b string) int {
	if len(a) > maxQuoted || len(b) > maxQuoted {
		return maxQuoted
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
