// Package spelling finds what was meant: the known name that is nearest to a mistyped one,
// for keys of the configuration, commands, flags and scopes alike.
package spelling

import (
	"fmt"
	"strings"
)

// maxName is the length in bytes above which a name is near to nothing, so that no input is
// expensive.
const maxName = 64

// Suggestion returns `; did you mean "x"?` for the known name nearest to the wrong one, to follow
// what says that the wrong one is wrong, or "" if none is near. Of names that are equally near the
// first is meant.
func Suggestion(wrong string, known []string) string {
	best := Nearest(wrong, known)
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// Nearest returns the known name nearest to the wrong one, or "" if none is near: at most a third
// of its letters, and one at least, may be wrong. Upper and lower case are the same.
func Nearest(wrong string, known []string) string {
	if len(wrong) > maxName {
		return ""
	}
	best, least := "", max(len(wrong)/3, 1)+1
	lower := strings.ToLower(wrong)
	for _, name := range known {
		if n := Distance(lower, strings.ToLower(name)); n < least {
			best, least = name, n
		}
	}
	return best
}

// Distance is the number of letters to insert, remove or replace, or of neighbours to swap, to make
// b of a. It is that of bytes, and costs O(len(a)·len(b)); what is longer than any name is far from
// everything.
func Distance(a, b string) int {
	if len(a) > maxName || len(b) > maxName {
		return maxName
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			next[j+1] = row[j]
			if a[i] != b[j] {
				next[j+1] = 1 + min(row[j], next[j], row[j+1])
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
