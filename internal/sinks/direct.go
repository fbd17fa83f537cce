package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/wardstream/wardstream/internal/wire"
)

// Direct delivers events to its sinks without queues, for short-lived processes: once, to all sinks
// at the same time, within 5 s each.
type Direct []Named

// Emit delivers events and waits for all sinks. Its error names those that failed.
func (d Direct) Emit(ctx context.Context, events []wire.Enforcement) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	errs := make([]error, len(d))
	var sends conc.WaitGroup
	for i, s := range d {
		sends.Go(func() { errs[i] = s.emit(ctx, events) })
	}
	sends.Wait()
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
