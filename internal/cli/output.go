package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/wire"
)

// A Format is how an answer is printed.
type Format string

// The formats.
const (
	TextFormat Format = "text"
	JSONFormat Format = "json"
)

var errFormat = errors.New("must be text or json")

// String returns the format's name.
func (f *Format) String() string { return string(*f) }

// Type names the type of the flag in a command's help.
func (f *Format) Type() string { return "format" }

// Set refuses a name that is not a format's.
func (f *Format) Set(text string) error {
	if text != string(TextFormat) && text != string(JSONFormat) {
		return errFormat
	}
	*f = Format(text)
	return nil
}

// OutputFlag adds --output, -o for short, and returns what it holds.
func OutputFlag(cmd *cobra.Command) *Format {
	f := TextFormat
	cmd.Flags().VarP(&f, "output", "o", "text or json")
	formats := cobra.FixedCompletions([]cobra.Completion{string(TextFormat), string(JSONFormat)}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("output", formats) // fails only for a flag that is not there
	return &f
}

// Print writes an answer to Stdout: v as JSON on one line, or what text writes.
func (a App) Print(f Format, v any, text func(w io.Writer)) error {
	out := bufio.NewWriter(a.Stdout)
	if f == JSONFormat {
		raw, err := EncodeJSON(v)
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

// EncodeJSON encodes v on one line that is safe for a terminal.
func EncodeJSON(v any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return wire.PrintableJSON(bytes.TrimRight(raw.Bytes(), "\n")), nil
}

// Table writes rows in columns, each cell safe for a terminal, and all of them within its width:
// the columns named in yield give way, in this order. w keeps its error.
func (a App) Table(w io.Writer, header []string, rows [][]string, yield ...string) {
	t := display.Table{Header: header, Rows: make([][]string, len(rows))}
	for i, row := range rows {
		t.Rows[i] = make([]string, len(row))
		for j, cell := range row {
			t.Rows[i][j] = Printable(cell)
		}
	}
	for _, name := range yield {
		t.Yield = append(t.Yield, slices.Index(header, name))
	}
	_ = t.Write(w, display.Width(a.Stdout))
}
