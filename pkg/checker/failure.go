package checker

import (
	"context"
	"errors"
	"net"
	"os"
)

// A failure is an error with a class.
type failure struct{ class, text string }

func (f *failure) Error() string      { return f.text }
func (f *failure) ErrorClass() string { return f.class }

// NewError returns an error for which [ErrorClass] returns class. Use it for sentinel errors of a
// Lookup and of code that calls [Checker.Fail]. class must be a constant, since it becomes a metric
// label.
func NewError(class, text string) error { return &failure{class, text} }

// ErrorClass returns the kind of a failed check in one word, for metrics and events. If err has a
// method ErrorClass() string, as errors of [NewError] do, it returns that class. Otherwise it
// returns "timeout", "refused" for an error that Redis or Postgres replied, or "unavailable".
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
