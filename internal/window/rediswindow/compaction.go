package rediswindow

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
)

// A compaction replaces the beginning of a log.
type compaction struct {
	head string // the record that the log must start with
	size int    // bytes replaced
	with []byte
	ttl  time.Duration

	clearsKey string // of the clears to be trimmed; "" if there are none
	expired   int64  // ms, up to which clears are too old
	limit     int    // of clears
}

// maintenance holds the replies to compactions and to the trimming of clears that goes with them.
type maintenance struct{ compactions, trims []*redis.Cmd }

func (u *maintenance) failed() bool {
	failed := func(c *redis.Cmd) bool { return c.Err() != nil }
	return slices.ContainsFunc(u.compactions, failed) || slices.ContainsFunc(u.trims, failed)
}

// dropped returns how many clears were forgotten before they were too old to matter.
func (u *maintenance) dropped() float64 {
	n := 0
	for _, c := range u.trims {
		excess, _ := c.Int() // of one that failed: 0
		n += excess
	}
	return float64(n)
}

// maxOverfull bounds the pending compactions. A compaction that does not fit is scheduled when the
// window is next used.
const maxOverfull = 1024

// settle counts spared members and schedules a compaction of the log with the next batch, if judging the
// window has shown that it is necessary.
func (s *Store) settle(t *touch, view *window.View) {
	s.metrics.MembersSpared.Add(float64(view.Spared()))
	log := t.log.Val()
	if len(log) < window.RecordSize || len(log) <= t.spec.limit && !view.Corrected() {
		return
	}
	if t.grown != nil {
		end := int(t.grown.Val())
		if len(log) < end {
			return // another worker has compacted it
		}
		view.Extend(log[end:])
	}
	c := compaction{
		head: log[:window.RecordSize], size: len(log), ttl: t.spec.ttl,
		with: append(window.Marker(), view.Compact()...),
	}
	if newest := view.NewestClear(); newest > 0 {
		c.clearsKey, c.expired, c.limit = t.clearsKey, newest-t.spec.ttl.Milliseconds(), t.window.Spec.ClearLimit()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.overfull) < maxOverfull {
		s.overfull[t.key] = c
	}
}

// compact queues the pending compactions. Their failure is ignored: the log is compacted another time.
func (s *Store) compact(ctx context.Context, p redis.Pipeliner) maintenance {
	s.mu.Lock()
	waiting := s.overfull
	if len(waiting) > 0 {
		s.overfull = map[string]compaction{}
	}
	s.mu.Unlock()
	var sent maintenance
	for key, c := range waiting {
		sent.compactions = append(sent.compactions, p.Eval(ctx, compactSource, []string{key}, c.head, c.size, c.with, strconv.FormatInt(c.ttl.Milliseconds(), 10)))
		if c.clearsKey != "" {
			sent.trims = append(sent.trims, p.Eval(ctx, trimSource, []string{c.clearsKey}, c.expired, c.limit, floorMember, floorOffset))
		}
	}
	return sent
}
