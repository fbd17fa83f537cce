package ingress

import (
	"errors"
	"fmt"
)

// mistakes are several errors, each to be said on a line of its own.
type mistakes []error

// Error returns a line for each.
func (m mistakes) Error() string { return errors.Join(m...).Error() }

// Unwrap returns them all.
func (m mistakes) Unwrap() []error { return m }

// All returns them all.
func (m mistakes) All() []error { return m }

// add notes those that are errors, and the several that one may hold as several.
func (m *mistakes) add(errs ...error) {
	for _, err := range errs {
		var several mistakes
		switch {
		case err == nil:
		case errors.As(err, &several):
			*m = append(*m, several...)
		default:
			*m = append(*m, err)
		}
	}
}

// when notes a mistake if wrong says that it is one.
func (m *mistakes) when(wrong bool, format string, args ...any) {
	if wrong {
		*m = append(*m, fmt.Errorf(format, args...))
	}
}

// err returns what is to be said of m, nil if there is nothing.
func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	return m
}
