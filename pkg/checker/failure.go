package checker

import (
	"context"
	"errors"
	"net"
	"os"
)

// A failure is an error that knows its class.
type failure struct{ class, text string }

func (f *failure) Error() string      { return f.text }
func (f *failure) ErrorClass() string { return f.class }

// NewError returns an error with the text for which [ErrorClass] returns class: for the sentinels of
// Lookups and of what calls [Checker.Fail]. class must be a constant, since it becomes a label.
func NewError(class, text string) error { return &failure{class, text} }

// ErrorClass names the kind of a failed check, for metrics and events: one of a few words, never a
// message. It is the class that an error has by a method ErrorClass() string, as those of [NewError] do, else
// "timeout", "refused" for what Redis or Postgres answered, or "unavailable".
func ErrorClass(err error) string {
	var (
		classed  interface{ ErrorClass() string }
		network  net.Error
		redis    interface{ RedisError() }
		postgres interface{ SQLState() string }
	)
	switch {
	case errors.As(err, &classed):
		return classed.ErrorClass()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &redis), errors.As(err, &postgres):
		return "refused"
	}
	return "unavailable"
}
