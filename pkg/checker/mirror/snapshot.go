package mirror

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	scanCount   = 1000 // keys that one SCAN looks at, and fields that one HSCAN does
	pageTimeout = 5 * time.Second
)

var (
	// errOverfull means that there are more blocks than a mirror may hold.
	errOverfull = errors.New("more blocks than the mirror may hold")
	errMoved    = errors.New("membership hash appeared or disappeared")
)

// A snapshot reads all blocks into a replica. Blocks that change meanwhile may be read in their old
// or new state: the caller has to read those again.
type snapshot struct {
	m   *Mirror
	old *replica
	one sync.Mutex // guards r: the servers of a Cluster are read at the same time
	r   *replica
}

// takeSnapshot returns a replica of the blocks in Redis. It reuses unchanged entries of old.
func (m *Mirror) takeSnapshot(ctx context.Context, old *replica) (*replica, error) {
	begin := m.now()
	s := &snapshot{m: m, old: old, r: newReplica()}
	before, err := m.glance(ctx)
	if err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	if err := s.keys(ctx); err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	if err := s.members(ctx); err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	after, err := m.glance(ctx)
	if err == nil && before.complete != after.complete {
		err = errMoved
	}
	if err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	s.r.complete = after.complete
	m.took.Store(int64(m.now().Sub(begin)))
	m.snapshots.Add(1)
	return s.r, nil
}

// keys reads all block keys, on every server.
func (s *snapshot) keys(ctx context.Context) error {
	cluster, ok := s.m.client.(*redis.ClusterClient)
	if !ok {
		return s.server(ctx, s.m.client)
	}
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return s.server(ctx, c) })
	if err != nil {
		return fmt.Errorf("scan cluster: %w", err)
	}
	return nil
}

func (s *snapshot) server(ctx context.Context, server redis.Cmdable) error {
	return pages(ctx, func(ctx context.Context, cursor uint64) (uint64, error) {
		keys, next, err := server.Scan(ctx, cursor, s.m.keys.BlockPattern(), scanCount).Result()
		if err != nil {
			return 0, fmt.Errorf("scan block keys: %w", err)
		}
		values, err := s.read(ctx, server, keys)
		if err != nil {
			return 0, fmt.Errorf("read block keys: %w", err)
		}
		return next, s.add(keys, values)
	})
}

// pages calls page with each cursor, with a deadline for each call: cancelling alone does not end a
// read.
func pages(ctx context.Context, page func(ctx context.Context, cursor uint64) (next uint64, err error)) error {
	one := func(cursor uint64) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, pageTimeout)
		defer cancel()
		return page(ctx, cursor)
	}
	cursor, err := one(0)
	for cursor != 0 && err == nil {
		cursor, err = one(cursor)
	}
	return err
}

// read returns the values of keys, nil for a missing one. In a Cluster it sends a GET per key,
// since MGET requires all keys in one slot.
func (s *snapshot) read(ctx context.Context, server redis.Cmdable, keys []string) ([]any, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if _, cluster := s.m.client.(*redis.ClusterClient); !cluster {
		values, err := server.MGet(ctx, keys...).Result()
		if err == nil && len(values) != len(keys) {
			err = errReply
		}
		return values, err
	}
	cmds, err := server.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, key := range keys {
			pipe.Get(ctx, key)
		}
		return nil
	})
	if len(cmds) != len(keys) {
		return nil, errors.Join(errReply, err)
	}
	values := make([]any, len(keys))
	for i, cmd := range cmds {
		get, ok := cmd.(*redis.StringCmd)
		if !ok {
			return nil, errReply
		}
		switch err := get.Err(); {
		case err == nil:
			values[i] = get.Val()
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			values[i] = err // becomes an unreadable entry
		case !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "MOVED"): // moved: listed by its new server
			return nil, err
		}
	}
	return values, nil
}

var errReply = errors.New("unexpected shape of reply")

// add stores the blocks of keys in the replica.
func (s *snapshot) add(keys []string, values []any) error {
	s.one.Lock()
	defer s.one.Unlock()
	for i, key := range keys {
		if scope, ok := s.m.keys.BlockScope(key); ok && values[i] != nil {
			s.r.set(scope, s.keyEntry(scope, values[i]))
		}
	}
	return s.full()
}

func (s *snapshot) full() error {
	if s.r.size() > s.m.maxEntries {
		return errOverfull
	}
	return nil
}

func (s *snapshot) keyEntry(scope checker.Scope, value any) *entry {
	raw, ok := value.(string)
	if !ok {
		return &entry{until: unreadable}
	}
	sum := maphash.String(s.m.seed, raw)
	if e := s.old.get(scope); e != nil && e.sum == sum {
		return s.unlessEnded(e)
	}
	b, err := wire.DecodeDenial([]byte(raw))
	if err != nil {
		return &entry{until: unreadable}
	}
	return s.unlessEnded(newEntry(b, sum))
}

func (s *snapshot) unlessEnded(e *entry) *entry {
	if !e.activeAt(s.m.redisTime().UnixMicro()) {
		return nil
	}
	return e
}

// members reads the membership hash. Of two blocks of one scope it keeps the stronger.
func (s *snapshot) members(ctx context.Context) error {
	return pages(ctx, func(ctx context.Context, cursor uint64) (uint64, error) {
		pairs, next, err := s.m.client.HScan(ctx, s.m.keys.Permanent(), cursor, "", scanCount).Result()
		if err != nil {
			return 0, fmt.Errorf("scan membership hash: %w", err)
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			if scope, ok := rediskey.FieldScope(pairs[i]); ok {
				s.member(scope, pairs[i+1])
			}
		}
		return next, s.full()
	})
}

func (s *snapshot) member(scope checker.Scope, raw string) {
	has := s.r.get(scope)
	b, err := wire.DecodeMember(scope, []byte(raw))
	switch {
	case err != nil:
		s.r.set(scope, &entry{until: unreadable})
	case has == nil:
		s.r.set(scope, s.unlessEnded(newEntry(b, 0)))
	case has.until != unreadable && b.Stronger(has.block(scope)):
		s.r.set(scope, newEntry(b, 0))
	}
}
