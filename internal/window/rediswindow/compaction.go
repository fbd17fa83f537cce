package rediswindow

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
)

// A compaction replaces the beginning of a log, trims the window's clears, or both.
type compaction struct {
	key    string
	head   string // the record that the log must start with; "" leaves the log as it is
	size   int    // bytes replaced
	with   []byte
	marker window.Marker // that the log starts with afterwards
	ttl    time.Duration

	clearsKey string // of the clears to be trimmed; "" leaves them as they are
	expired   int64  // ms, up to which clears are too old
	limit     int    // of clears

	compacted *redis.Cmd // nil if the log was left as it was
	trimmed   *redis.Cmd // nil if the clears were
}

// maxOverfull bounds the pending compactions. A compaction that does not fit is scheduled when the
// window is next used.
const maxOverfull = 1024

// settle counts spared members and schedules a compaction of the log with the next batch, if
// judging the window has shown that it is necessary.
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
	marker := view.Marker()
	c := compaction{
		key: t.key, head: log[:window.RecordSize], size: len(log), ttl: t.spec.ttl,
		marker: marker, with: view.Compact(marker.Append(nil)),
	}
	if marker.Newest > 0 {
		c.clearsKey, c.expired, c.limit = t.clearsKey, marker.Newest-t.spec.ttl.Milliseconds(), t.window.Spec.ClearLimit()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.overfull) < maxOverfull {
		s.overfull[c.key] = c
	}
}

// compact queues the pending compactions.
func (s *Store) compact(ctx context.Context, p redis.Pipeliner) maintenance {
	s.mu.Lock()
	waiting := s.overfull
	if len(waiting) > 0 {
		s.overfull = map[string]compaction{}
	}
	s.mu.Unlock()
	var sent maintenance
	for _, c := range waiting {
		c.send(ctx, p)
		sent = append(sent, c)
	}
	return sent
}

func (c *compaction) send(ctx context.Context, p redis.Pipeliner) {
	if c.head != "" {
		c.compacted = compactScript.Eval(ctx, p, []string{c.key}, c.head, c.size, c.with, strconv.FormatInt(c.ttl.Milliseconds(), 10))
	}
	if c.clearsKey != "" {
		c.trimmed = trimScript.Eval(ctx, p, []string{c.clearsKey}, c.expired, c.limit, c.marker.Floor)
	}
}

// maintenance holds the compactions that were sent with a batch.
type maintenance []compaction

func (m maintenance) failed() bool { return slices.ContainsFunc(m, compaction.failed) }

func (c compaction) failed() bool {
	return c.compacted != nil && c.compacted.Err() != nil || c.trimmed != nil && c.trimmed.Err() != nil
}

// finish counts the clears that were forgotten before they were too old to matter, and forgets more
// where there are still too many. Failures are ignored: the log is compacted another time.
func (s *Store) finish(ctx context.Context, sent maintenance) {
	var raises, trims maintenance
	for i := range sent {
		c := &sent[i]
		if floor := s.trimmed(c); floor > 0 && c.replaced() {
			raises = append(raises, c.raise(floor))
			trims = append(trims, compaction{clearsKey: c.clearsKey, expired: c.expired, limit: c.limit, marker: raises[len(raises)-1].marker})
		}
	}
	if len(raises) > 0 {
		s.forget(ctx, raises, trims)
	}
}

// forget raises the floors of logs and then trims their clears, in two round trips: in this order
// no clear is missing without a floor that says so, wherever the worker stops. Few windows ever
// have so many clears.
func (s *Store) forget(ctx context.Context, raises, trims maintenance) {
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
		for i := range raises {
			raises[i].send(ctx, p)
		}
		return nil
	})
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range trims {
			if raises[i].replaced() {
				trims[i].send(ctx, p)
			}
		}
		return nil
	})
	for i := range trims {
		s.trimmed(&trims[i])
	}
}

// trimmed counts what trim.lua forgot and returns the floor that the log needs before more is.
func (s *Store) trimmed(c *compaction) (floor int64) {
	if c.trimmed == nil {
		return 0
	}
	reply, err := c.trimmed.Int64Slice()
	if err != nil || len(reply) != 2 {
		return 0
	}
	s.metrics.ClearsDropped.Add(float64(reply[0]))
	return reply[1]
}

// replaced reports whether the log starts with what the compaction wrote.
func (c *compaction) replaced() bool {
	if c.compacted == nil {
		return false
	}
	n, err := c.compacted.Int()
	return err == nil && n == 1
}

// raise returns the compaction that gives the log, as c left it, a higher floor.
func (c *compaction) raise(floor int64) compaction {
	marker := window.Marker{Newest: c.marker.Newest, Floor: floor}
	return compaction{
		key: c.key, head: string(c.with[:window.RecordSize]), size: len(c.with), ttl: c.ttl,
		marker: marker, with: append(marker.Append(nil), c.with[window.RecordSize:]...),
	}
}
