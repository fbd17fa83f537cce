package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ackIDs is how many entries one XACK names.
const ackIDs = 1000

// A settler carries out verdicts.
type settler struct {
	*member
	dead     *deadLetterer
	pressure *backpressure
}

// settle acks done entries and makes dead letters of dead ones. A dead letter that cannot be
// written keeps its verdict for the next attempt. A done entry that cannot be acked is pending
// again and will be handled again: the server that takes the next ack may be a replica that was
// promoted and lacks the effects.
func (s *settler) settle(ctx context.Context, items []*item) {
	var done, dead []*item
	for _, it := range items {
		switch {
		case it.settled:
		case it.verdict.Status == Done:
			done = append(done, it)
		case it.verdict.Status == Dead:
			dead = append(dead, it)
		}
	}
	err := s.ackAll(ctx, done)
	err = errors.Join(err, s.dead.write(ctx, dead))
	if err != nil && ctx.Err() == nil {
		s.pressure.observe(err)
		s.log.Warn("acking entries failed; they will be handled again", "error", err)
	}
}

func (s *settler) ackAll(ctx context.Context, items []*item) error {
	for chunk := range slices.Chunk(items, ackIDs) {
		ids := make([]string, len(chunk))
		for i, it := range chunk {
			ids[i] = it.ID
		}
		if err := s.ack(ctx, ids); err != nil {
			undecide(items)
			return err
		}
		for _, it := range chunk {
			it.settled = true
		}
	}
	return nil
}

// undecide makes the unsettled items pending again.
func undecide(items []*item) {
	for _, it := range items {
		if !it.settled {
			it.verdict = Verdict{}
		}
	}
}

func (s *settler) ack(ctx context.Context, ids []string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	n, err := s.clients.Ops.XAck(ctx, s.stream, s.group, ids...).Result()
	if err != nil {
		return fmt.Errorf("ack entries: %w", err)
	}
	s.metrics.acked.Add(float64(n))
	return nil
}
