package rediswindow

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
)

// A compaction replaces the beginning of a log.
type compaction struct {
	head string // the record that the log must begin with
	size int    // bytes replaced
	with []byte
	ttl  time.Duration
}

// maxOverfull bounds the memory of compactions that wait. What is not
// scheduled is scheduled the next time the window is touched.
const maxOverfull = 1024

// settle takes note of what judging a window has shown: what was spared, and that its
// log should be compacted along with the next batch.
func (s *Store) settle(t *touch, view *window.View) {
	s.metrics.MembersSpared.Add(float64(view.Spared()))
	log := t.log.Val()
	if len(log) < window.RecordSize || len(log) <= t.spec.limit && !view.Corrected() {
		return
	}
	if t.grown != nil {
		end := int(t.grown.Val())
		if len(log) < end {
			return // somebody else has compacted it
		}
		view.Extend(log[end:])
	}
	c := compaction{
		head: log[:window.RecordSize], size: len(log), ttl: t.spec.ttl,
		with: append(window.Marker(), view.Compact()...),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.overfull) < maxOverfull {
		s.overfull[t.key] = c
	}
}

// compact sends the compactions that wait. Whether they succeed is of no
// interest: a log that stays long is compacted another time.
func (s *Store) compact(ctx context.Context, p redis.Pipeliner) []*redis.Cmd {
	s.mu.Lock()
	waiting := s.overfull
	if len(waiting) > 0 {
		s.overfull = map[string]compaction{}
	}
	s.mu.Unlock()
	sent := make([]*redis.Cmd, 0, len(waiting))
	for key, c := range waiting {
		sent = append(sent, p.Eval(ctx, compactSource, []string{key}, c.head, c.size, c.with, strconv.FormatInt(c.ttl.Milliseconds(), 10)))
	}
	return sent
}
