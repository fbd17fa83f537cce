// Package rediswindow keeps windows in Redis, as logs of records: a batch adds
// to all its windows and reads them back in one round trip, by the cheapest
// commands there are, and the counting is done here, by the same code as in memory.
package rediswindow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/wire"
)

// Store is a window.Store in Redis.
type Store struct {
	client redis.UniversalClient
	keys   wire.Keys
	specs  sync.Map // *window.Spec → spec

	mu       sync.Mutex
	overfull map[string]compaction // by key
}

// New returns a store whose keys start with prefix.
func New(client redis.UniversalClient, prefix string) *Store {
	return &Store{client: client, keys: wire.Keys{Prefix: prefix}, overfull: map[string]compaction{}}
}

// Apply implements window.Store in one round trip.
func (s *Store) Apply(ctx context.Context, ops []window.Op) ([]int, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	batch := window.Group(ops)
	touched := make([]touch, len(batch.Windows))
	var compactions []*redis.Cmd
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		compactions = s.compact(ctx, p)
		for i, w := range batch.Windows {
			touched[i] = s.touch(ctx, p, w, batch.Additions(w))
		}
		return nil
	})
	if err = failure(err, touched, compactions); err != nil {
		return nil, fmt.Errorf("apply windows: %w", err)
	}
	counts := make([]int, len(ops))
	for i, w := range batch.Windows {
		batch.Judge(w, s.view(w, &touched[i]), counts)
	}
	return counts, nil
}

// spec is what a window.Spec comes to in keys and commands.
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

// A touch is what is done to one window, and the replies.
type touch struct {
	key   string
	added []byte
	grown *redis.IntCmd    // nil if nothing was added
	log   *redis.StringCmd // the log afterwards
}

// touch adds records to a window and reads it: APPEND and GETEX, which renews
// the TTL as well; O(size of the log), some 2 µs of Redis.
func (s *Store) touch(ctx context.Context, p redis.Pipeliner, w window.Window, added []byte) touch {
	spec := s.spec(w.Spec)
	t := touch{key: s.keys.Window(spec.id, w.Group), added: added}
	if len(added) == 0 {
		t.log = p.Get(ctx, t.key)
		return t
	}
	t.grown = p.Append(ctx, t.key, string(added))
	t.log = p.GetEx(ctx, t.key, spec.ttl)
	return t
}

// failure is what keeps a pipeline's replies from being used, given its error. That a
// window isn't there is none, nor that a compaction failed. Where Redis refuses the
// connection itself only the pipeline has an error, its commands don't.
func failure(err error, touched []touch, compactions []*redis.Cmd) error {
	if err == nil {
		return nil
	}
	for i := range touched {
		if t := &touched[i]; t.grown != nil && t.grown.Err() != nil {
			return t.grown.Err()
		}
		if err := touched[i].log.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	compacting := func(c *redis.Cmd) bool { return c.Err() != nil }
	if errors.Is(err, redis.Nil) || slices.ContainsFunc(compactions, compacting) {
		return nil
	}
	return err
}

// view is the window as it was before this batch. What others added since is in it if they came
// in between; it would have been, had they come first.
func (s *Store) view(w window.Window, t *touch) *window.View {
	log := t.log.Val()
	if t.grown == nil {
		return window.Replay(w.Spec, log)
	}
	end := int(t.grown.Val())
	if len(log) < end { // compacted in between, ours included
		return window.Replay(w.Spec, log)
	}
	view := window.Replay(w.Spec, log[:end-len(t.added)])
	if spec := s.spec(w.Spec); len(log) > spec.limit {
		s.schedule(t.key, w.Spec, spec, log)
	}
	return view
}

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

// schedule has the log compacted along with the next batch.
func (s *Store) schedule(key string, w *window.Spec, spec spec, log string) {
	c := compaction{
		head: log[:window.RecordSize], size: len(log), ttl: spec.ttl,
		with: append(window.Marker(), window.Replay(w, log).Compact()...),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.overfull) < maxOverfull {
		s.overfull[key] = c
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
