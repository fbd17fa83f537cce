package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/wardstream/wardstream/internal/wire"
)

// Direct gives events to its sinks without queues, for a process that soon
// ends: once, to all at the same time, each within 5 s.
type Direct []Named

// Emit waits for the sinks. The error names those that failed.
func (d Direct) Emit(ctx context.Context, events []wire.Enforcement) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	errs := make([]error, len(d))
	var told conc.WaitGroup
	for i, s := range d {
		told.Go(func() { errs[i] = s.emit(ctx, events) })
	}
	told.Wait()
	return errors.Join(errs...)
}

func (n Named) emit(ctx context.Context, events []wire.Enforcement) error {
	wanted := n.wanted(events)
	if len(wanted) == 0 {
		return nil
	}
	if err := n.Sink.Emit(ctx, wanted); err != nil {
		return fmt.Errorf("sink %s: %w", n.Name, err)
	}
	return nil
}
