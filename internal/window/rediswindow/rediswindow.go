// Package rediswindow stores windows in Redis as logs of records and sorted sets of clears. A batch
// appends to all its windows and reads them back in one round trip of cheap commands; this process
// does the counting, with the same code as in memory. If a window with clears reaches its
// threshold, one more round trip confirms the count.
package rediswindow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/window"
)

// Store is a window.Store in Redis.
type Store struct {
	client  redis.UniversalClient
	keys    rediskey.Keys
	metrics *Metrics
	specs   sync.Map // *window.Spec → spec

	mu       sync.Mutex
	overfull map[string]compaction // by key
}

// New returns a store whose keys start with prefix. Its metrics may be nil.
func New(client redis.UniversalClient, prefix string, metrics *Metrics) *Store {
	if metrics == nil {
		metrics = newMetrics()
	}
	return &Store{client: client, keys: rediskey.Keys{Prefix: prefix}, metrics: metrics, overfull: map[string]compaction{}}
}

// Apply implements window.Store in one round trip, or two.
func (s *Store) Apply(ctx context.Context, ops []window.Op) ([]window.Count, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	batch := window.Group(ops)
	if err := batch.Check(); err != nil {
		return nil, fmt.Errorf("apply windows: %w", err)
	}
	touched, err := s.touchAll(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("apply windows: %w", err)
	}
	counts := make([]window.Count, len(ops))
	var doubtful []*touch
	for i := range touched {
		t := &touched[i]
		view := t.view()
		reached := batch.Judge(t.window, view, counts)
		if (reached || view.Overflowed() || view.Late()) && t.clearable() {
			doubtful = append(doubtful, t)
			continue
		}
		s.settle(t, view)
	}
	if err := s.confirm(ctx, batch, doubtful, counts); err != nil {
		return nil, fmt.Errorf("confirm windows: %w", err)
	}
	return counts, nil
}

// confirm reads the clears of every member in the doubtful windows and judges these again: the
// record of a clear that removes a member may have been compacted away. The members are in the log
// before their clears are read, so a clear that is handled later finds them there. Last it reads
// the marker, whose floor is raised before clears are forgotten.
func (s *Store) confirm(ctx context.Context, batch *window.Batch, doubtful []*touch, counts []window.Count) error {
	if len(doubtful) == 0 {
		return nil
	}
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, t := range doubtful {
			t.others.ask(ctx, p, t.clearsKey, t.others.tags)
			t.marker = p.GetRange(ctx, t.key, 0, window.RecordSize-1)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for _, t := range doubtful {
		view := t.view()
		batch.Judge(t.window, view, counts)
		s.settle(t, view)
	}
	return nil
}

// A spec holds the keys and command arguments derived from a window.Spec.
type spec struct {
	id  string
	ttl time.Duration
	// limit is the length in bytes from which a log is compacted.
	limit int
}

func (s *Store) spec(w *window.Spec) spec {
	if known, ok := s.specs.Load(w); ok {
		return known.(spec) //nolint:forcetypeassert // only specs are stored
	}
	made := spec{w.ID(), w.TTL(), 2 * w.Capacity() * window.RecordSize}
	s.specs.Store(w, made)
	return made
}
