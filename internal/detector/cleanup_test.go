package detector

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestCleanupsRunInReverse: all of them, the latest first, though some fail; and once.
func TestCleanupsRunInReverse(t *testing.T) {
	t.Parallel()
	var c cleanups
	var closed []string
	for _, name := range []string{"stores", "sinks", "server"} {
		c.add(name, func(context.Context) error {
			if closed = append(closed, name); name == "sinks" {
				return errDown
			}
			return nil
		})
	}
	if err := c.run(t.Context()); !errors.Is(err, errDown) || err.Error() != "close sinks: connection refused" {
		t.Errorf("error %v", err)
	}
	if want := []string{"server", "sinks", "stores"}; !slices.Equal(closed, want) {
		t.Errorf("closed %q, want %q", closed, want)
	}
	if err := c.run(t.Context()); err != nil || len(closed) != 3 {
		t.Errorf("the second run closed %q (%v)", closed, err)
	}
}
