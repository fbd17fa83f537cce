package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// heartbeatIDs is how many entries one XCLAIM names.
const heartbeatIDs = 1000

// A heartbeater keeps the entries in flight from being claimed by others: the idle clock of an
// entry starts when it is delivered, not when it is handled.
type heartbeater struct {
	*member
	inFlight *inFlight
	every    time.Duration
}

// run sends heartbeats until ctx ends.
func (h *heartbeater) run(ctx context.Context) {
	ticker := time.NewTicker(max(h.every, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := h.beat(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("sending a heartbeat failed; others may claim what is in flight", "error", err)
		}
	}
}

// beat resets the idle time of what is in flight; JUSTID leaves the count of
// deliveries alone. Entries that have been acked meanwhile are not affected.
func (h *heartbeater) beat(ctx context.Context) error {
	for ids := range slices.Chunk(h.inFlight.ids(), heartbeatIDs) {
		args := []any{"XCLAIM", h.stream, h.group, h.name, 0}
		for _, id := range ids {
			args = append(args, id)
		}
		if err := h.do(ctx, append(args, "JUSTID")...); err != nil {
			return fmt.Errorf("claim what is in flight: %w", err)
		}
	}
	return nil
}
