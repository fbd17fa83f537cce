package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/wire"
)

// A format is how an answer is printed.
type format string

const (
	textFormat format = "text"
	jsonFormat format = "json"
)

var errFormat = errors.New("must be text or json")

// String, Set and Type make a format a flag.
func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(text string) error {
	if text != string(textFormat) && text != string(jsonFormat) {
		return errFormat
	}
	*f = format(text)
	return nil
}

// outputFlag adds --output, -o for short.
func (a App) outputFlag(cmd *cobra.Command) *format {
	f := textFormat
	cmd.Flags().VarP(&f, "output", "o", "text or json")
	a.completeFlag(cmd, "output", words(string(textFormat), string(jsonFormat)))
	return &f
}

// A duration is a flag that reads durations as the configuration does.
type duration time.Duration

var errDuration = errors.New("must be a duration such as 30s, 10m, 12h or 7d")

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return exact(time.Duration(*d))
}

// exact writes a duration in full, whole days as days.
func exact(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return config.FormatDuration(d)
}

func (d *duration) Type() string { return "duration" }

func (d *duration) Set(text string) error {
	read, err := config.ParseDuration(text)
	if err != nil {
		return errDuration
	}
	*d = duration(read)
	return nil
}

// print writes an answer: v as JSON on one line, or what text writes.
func (a App) print(f format, v any, text func(w io.Writer)) error {
	out := bufio.NewWriter(a.Stdout)
	if f == jsonFormat {
		raw, err := encodeJSON(v)
		if err != nil {
			return fmt.Errorf("print answer: %w", err)
		}
		_, _ = out.Write(append(raw, '\n')) // Flush returns the error
	} else {
		text(out)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("print answer: %w", err)
	}
	return nil
}

// encodeJSON encodes v so that it is fit for a terminal as well.
func encodeJSON(v any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return wire.PrintableJSON(bytes.TrimRight(raw.Bytes(), "\n")), nil
}

// table writes rows in columns, each cell fit for a terminal, and all of them for its width: the columns named in yield
// give way, in this order.
func (a App) table(w io.Writer, header []string, rows [][]string, yield ...string) {
	t := display.Table{Header: header, Rows: make([][]string, len(rows))}
	for i, row := range rows {
		t.Rows[i] = make([]string, len(row))
		for j, cell := range row {
			t.Rows[i][j] = printable(cell)
		}
	}
	for _, name := range yield {
		t.Yield = append(t.Yield, slices.Index(header, name))
	}
	_ = t.Write(w, display.Width(a.Stdout)) // w keeps its error
}

// maxCell is how much of a value a table shows, in characters. JSON shows all of it.
const maxCell = 80

// printable is s as a terminal may show it: somebody else has chosen it, with a mind
// to whoever reads it. What can't be printed is escaped, and then the whole is in quotes.
func printable(s string) string {
	if cut := clip(s); cut != s {
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

// clip returns at most maxCell characters of s.
func clip(s string) string {
	left := maxCell
	for i := range s {
		if left--; left < 0 {
			return s[:i]
		}
	}
	return s
}

// oneLine makes an error fit for one line of a terminal. Lines, as of errors that are
// several, become clauses.
func oneLine(s string) string {
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

// moment writes a time to the second.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
