// Package display lays answers out for people: tables and paragraphs that fit the terminal they are
// shown on, and durations that can be read at a glance. It is pure but for [Width]; text is
// printable when it gets here.
package display

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// usualWidth is the width of a terminal that reports none.
const usualWidth = 80

// Width returns how many columns the terminal behind w has, or 0 where w is not a terminal: a file
// or a pipe takes lines of any length.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		return usualWidth
	}
	return columns
}

const (
	gap   = 2 // blanks between columns
	least = 8 // what a column that gives way keeps
)

// A Table is rows in columns.
type Table struct {
	Header []string
	Rows   [][]string // as long as Header each
	// Yield says which columns give way, and in which order, where the table is wider than the
	// terminal.
	Yield []int
}

// Write writes the table in at most width columns; 0 is unbounded. Columns give way one after the
// other, down to eight characters, and what is too wide then is cut at the terminal's edge.
func (t *Table) Write(w io.Writer, width int) error {
	widths := t.widths()
	shrink(widths, t.Yield, width)
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		if _, err := fmt.Fprintln(w, line(row, widths, width)); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	return nil
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Header))
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	return widths
}

// shrink narrows the columns that yield until the table fits, as far as that goes.
func shrink(widths, yield []int, width int) {
	over := gap*(len(widths)-1) - width
	for _, w := range widths {
		over += w
	}
	for _, i := range yield {
		if width <= 0 || over <= 0 {
			return
		}
		less := min(over, max(widths[i]-least, 0))
		widths[i] -= less
		over -= less
	}
}

// line lays one row out.
func line(row []string, widths []int, width int) string {
	var b strings.Builder
	for i, cell := range row {
		b.WriteString(runewidth.FillRight(Clip(cell, widths[i]), widths[i]))
		b.WriteString(strings.Repeat(" ", gap))
	}
	text := strings.TrimRight(b.String(), " ")
	if width > 0 {
		text = Clip(text, width)
	}
	return text
}

// Clip returns text in at most width columns; what is cut ends in "…".
func Clip(text string, width int) string {
	return runewidth.Truncate(text, width, "…")
}

// leastRoom is the narrowest column that text is folded into.
const leastRoom = 20

// Fold breaks text between words where a terminal of so many columns would break it anywhere; 0
// leaves it as it is. It begins in column indent, and so do the lines after the first.
func Fold(text string, indent, width int) string {
	room := width - indent
	if room < leastRoom {
		return text
	}
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(text) {
		n := runewidth.StringWidth(word)
		switch {
		case i == 0:
		case used+1+n > room:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}

const day = 24 * time.Hour

// Duration writes a duration in its one or two largest units, as precise as readers need: "341d",
// "6d23h", "3h20m", "9m58s", "0s". The configuration's durations are written so, too, where that
// says all.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-max(d, -1<<62))
	case d >= 10*day:
		return units(d, day, "d", 0, "")
	case d >= day:
		return units(d, day, "d", time.Hour, "h")
	case d >= time.Hour:
		return units(d, time.Hour, "h", time.Minute, "m")
	case d >= time.Minute:
		return units(d, time.Minute, "m", time.Second, "s")
	case d >= time.Second || d == 0:
		return units(d, time.Second, "s", 0, "")
	}
	return cmp.Or(d.Truncate(time.Millisecond), d).String()
}

// units writes d in a unit and, unless there is none of it, a smaller one.
func units(d, large time.Duration, name string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d%s", d/large, name)
	if small > 0 && d%large >= small {
		text += fmt.Sprintf("%d%s", d%large/small, smallName)
	}
	return text
}
