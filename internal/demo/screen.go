package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/wardstream/wardstream/internal/cli/display"
)

// A screen is what text is written to. Use it from one goroutine.
type screen struct {
	w      io.Writer
	color  bool
	width  func() int // columns of a terminal; nil where there is none
	status bool       // the last line is the status
}

// newScreen returns a screen on w. Where that is a terminal it has a status line,
// and colours unless NO_COLOR is set.
func newScreen(w io.Writer, getenv func(string) string) *screen {
	s := &screen{w: w}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || getenv("TERM") == "dumb" {
		return s
	}
	s.color = getenv("NO_COLOR") == ""
	s.width = func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}
	return s
}

// A style is a way to print text on a terminal with colours: its SGR parameters.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	green  style = "32"
	red    style = "1;31"
	yellow style = "33"
	purple style = "35"
)

func (s *screen) paint(how style, text string) string {
	if !s.color || how == plain || text == "" {
		return text
	}
	return "\x1b[" + string(how) + "m" + text + "\x1b[0m"
}

// line writes a line, above the status.
func (s *screen) line(text string) error {
	s.clear()
	if _, err := io.WriteString(s.w, text+"\n"); err != nil {
		return fmt.Errorf("write to the screen: %w", err)
	}
	return nil
}

// clear takes the status line away.
func (s *screen) clear() {
	if s.status {
		_, _ = io.WriteString(s.w, "\r\x1b[K") // whatever comes next reports a broken terminal
		s.status = false
	}
}

// setStatus replaces the status line, on a terminal.
func (s *screen) setStatus(text string) error {
	if s.width == nil {
		return nil
	}
	s.status = true
	if _, err := io.WriteString(s.w, "\r\x1b[K"+s.paint(faint, clip(text, s.width()-1))); err != nil {
		return fmt.Errorf("write to the screen: %w", err)
	}
	return nil
}

// fold breaks text between words where a terminal would break it anywhere. It
// begins in column indent, and so do the lines after the first.
func (s *screen) fold(text string, indent int) string {
	if s.width == nil {
		return text
	}
	return display.Fold(text, indent, s.width())
}

// clip cuts text to so many characters.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	if most < 1 {
		return ""
	}
	return string([]rune(text)[:most-1]) + "…"
}

// pad fills text up to so many columns, a blank after it at least.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(columns-utf8.RuneCountInString(text), 1))
}

// longest is how much is shown of one text from outside.
const longest = 200

// shown is text from outside as it can be shown: events may hold anything, and a
// terminal obeys control characters.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, clip(text, longest))
	return text
}
