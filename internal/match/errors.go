package match

import "fmt"

// An Error says what cannot be compiled, and where.
type Error struct {
	Line   int // of the file, from 1; 0 if unknown
	Reason string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// At returns the line and the reason apart.
func (e *Error) At() (line int, reason string) { return e.Line, e.Reason }

func refuse(line int, format string, args ...any) error {
	return &Error{Line: line, Reason: fmt.Sprintf(format, args...)}
}
