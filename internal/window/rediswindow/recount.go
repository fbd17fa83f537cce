package rediswindow

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
)

// Recount implements window.Store in two round trips: the logs, and the clears of the members in
// them.
func (s *Store) Recount(ctx context.Context, ops []window.Op) ([]window.Count, error) {
	logs, clears := make([]*redis.StringCmd, len(ops)), make([]clearQuery, len(ops))
	if err := s.recount(ctx, func(p redis.Pipeliner) {
		for i := range ops {
			logs[i] = p.Get(ctx, s.keys.Window(s.spec(ops[i].Spec).id, ops[i].Group))
		}
	}); err != nil {
		return nil, err
	}
	if err := s.recount(ctx, func(p redis.Pipeliner) {
		for i := range ops {
			if ops[i].Spec.KeepsClears() {
				key := s.keys.WindowClears(s.spec(ops[i].Spec).id, ops[i].Group)
				clears[i].ask(ctx, p, key, window.LogTags(ops[i].Spec, logs[i].Val(), nil))
			}
		}
	}); err != nil {
		return nil, err
	}
	counts := make([]window.Count, len(ops))
	for i := range ops {
		var known window.Clears
		clears[i].into(&known)
		counts[i] = window.Recount(&ops[i], logs[i].Val(), &known)
	}
	return counts, nil
}

func (s *Store) recount(ctx context.Context, send func(redis.Pipeliner)) error {
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error { send(p); return nil })
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("recount windows: %w", err)
	}
	return nil
}
