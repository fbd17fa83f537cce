package checker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestHooksChainInOrder(t *testing.T) {
	t.Parallel()
	var heard []string
	hook := func(name string) Hook {
		return func(context.Context, Subject, Decision) { heard = append(heard, name) }
	}
	at := t0
	c := New(prompt{failing}, WithClock(func() time.Time { return at }), WithFailClosed(regexp.MustCompile("")),
		WithOnDecision(func(_ context.Context, _ Subject, d Decision, took time.Duration) {
			heard = append(heard, fmt.Sprintf("decided %v in %s", d.Blocked, took))
		}),
		WithOnBlocked(hook("blocked 1")), WithOnError(hook("failed 1")), WithOnBlocked(hook("blocked 2")), WithOnError(hook("failed 2")),
		WithOnError(func(context.Context, Subject, Decision) { at = at.Add(3 * time.Millisecond) }))
	c.Check(t.Context(), everybody)
	want := []string{"failed 1", "failed 2", "blocked 1", "blocked 2", "decided true in 3ms"}
	if !slices.Equal(heard, want) {
		t.Fatalf("heard %q, want %q", heard, want)
	}
}

func TestOnDecisionReceivesEveryDecision(t *testing.T) {
	t.Parallel()
	var heard []bool
	hook := WithOnDecision(func(_ context.Context, _ Subject, d Decision, _ time.Duration) { heard = append(heard, d.Blocked) })
	c := New(having(block("user", "42", 0)), hook)
	c.Check(t.Context(), everybody)
	c.Check(t.Context(), Subject{User: "43"})
	c.Check(t.Context(), Subject{}) // nothing to look up
	c.Fail(t.Context(), Subject{Path: "/"}, errDown)
	if want := []bool{true, false, false, false}; !slices.Equal(heard, want) {
		t.Fatalf("heard %v, want %v", heard, want)
	}
}

// An answered error looks like one of a store's server.
type answered struct{ error }

func (answered) RedisError() {}

type sqlError struct{ error }

func (sqlError) SQLState() string { return "42501" }

func TestErrorClass(t *testing.T) {
	t.Parallel()
	for want, errs := range map[string][]error{
		"busy":        {ErrBusy},
		"mine":        {NewError("mine", "text")},
		"timeout":     {context.DeadlineExceeded, os.ErrDeadlineExceeded, &net.DNSError{IsTimeout: true}},
		"refused":     {answered{errDown}, sqlError{errDown}},
		"unavailable": {errDown, &net.DNSError{}},
	} {
		for _, err := range errs {
			if got := ErrorClass(fmt.Errorf("look up: %w", errors.Join(errDown, err))); got != want {
				t.Errorf("ErrorClass(%v) = %s, want %s", err, got, want)
			}
		}
	}
	if text := NewError("mine", "text").Error(); text != "text" {
		t.Errorf("Error() = %q", text)
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	blocked := block("user", "42", 0)
	closed := WithFailClosed(regexp.MustCompile("^/pay"))
	half := lookupFunc(func(context.Context, []Scope) ([]Block, error) { return []Block{blocked}, errDown })
	for want, d := range map[string]Decision{
		ResultAllowed: New(having()).Check(t.Context(), everybody), ResultBlocked: New(prompt{half}, closed).Check(t.Context(), everybody),
		ResultFailedOpen:   New(prompt{failing}, closed).Check(t.Context(), everybody),
		ResultFailedClosed: New(prompt{failing}, closed).Check(t.Context(), Subject{User: "42", Path: "/pay"}),
	} {
		if got := d.Result(); got != want {
			t.Errorf("Result of %+v is %s, want %s", d, got, want)
		}
	}
}
