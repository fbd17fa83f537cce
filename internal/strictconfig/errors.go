package strictconfig

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
	return OneLine(b.String() + ": " + e.Reason)
}

// Errors are all that is wrong, in the order of the file, then of the
// environment and the flags.
type Errors []Error

// All returns them one by one.
func (e Errors) All() []error {
	all := make([]error, len(e))
	for i := range e {
		all[i] = e[i]
	}
	return all
}

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

// OneLine makes s fit for one line of a terminal.
func OneLine(s string) string {
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

// Quote returns a value as an error repeats it: in quotes, and no more than its beginning.
func Quote(s string) string {
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
