package detector

import (
	"context"
	"errors"
	"fmt"
)

// cleanups undo what was opened, in reverse order: the code that opens something adds how
// to close it at once, and whatever fails afterwards runs the list.
type cleanups []cleanup

type cleanup struct {
	name string
	run  func(context.Context) error
}

// add adds a clean-up; name says in errors what it closes.
func (c *cleanups) add(name string, run func(context.Context) error) {
	*c = append(*c, cleanup{name, run})
}

// run runs all clean-ups, the latest first, even if some fail, and forgets them. ctx
// bounds how long they may wait.
func (c *cleanups) run(ctx context.Context) error {
	var errs []error
	for len(*c) > 0 {
		last := (*c)[len(*c)-1]
		*c = (*c)[:len(*c)-1]
		if err := last.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", last.name, err))
		}
	}
	return errors.Join(errs...)
}
