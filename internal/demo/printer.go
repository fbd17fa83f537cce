package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
)

// A printer writes what happens. Use it from one goroutine.
type printer interface {
	start(h head) error
	report(r report) error
	summary(s summary) error
	close() // leaves a tidy screen, also after an error
}

// lines is a printer of one JSON object a line.
type lines struct{ w io.Writer }

func (l lines) start(h head) error      { return l.write(h) }
func (l lines) report(r report) error   { return l.write(r) }
func (l lines) summary(s summary) error { return l.write(s) }
func (lines) close()                    {}

func (l lines) write(v any) error {
	var raw, safe bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write a line: %w", err)
	}
	for _, r := range raw.String() { // events may hold anything, and this may go to a terminal
		if r < 0x7f || unicode.IsPrint(r) {
			safe.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&safe, `\u%04x`, unit)
		}
	}
	if _, err := safe.WriteTo(l.w); err != nil {
		return fmt.Errorf("write a line: %w", err)
	}
	return nil
}

// quiet is a printer of the summary alone.
type quiet struct{ printer }

func (quiet) start(head) error    { return nil }
func (quiet) report(report) error { return nil }
