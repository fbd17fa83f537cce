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

// settle acks done entries and makes dead letters of dead ones. Items whose verdict can't be
// carried out keep it for the next attempt.
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
		s.log.Warn("acking entries failed; it will be done again", "error", err)
	}
}

func (s *settler) ackAll(ctx context.Context, items []*item) error {
	for chunk := range slices.Chunk(items, ackIDs) {
		ids := make([]string, len(chunk))
		for i, it := range chunk {
			ids[i] = it.ID
		}
		if err := s.ack(ctx, ids); err != nil {
			return err
		}
		for _, it := range chunk {
			it.settled = true
		}
	}
	return nil
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
