package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const scanCount = 1000 // keys per SCAN

// List implements [store.Blocks]. It scans every key of the database, so it is for operators and
// not for requests. A corrupt block is listed with its scope alone.
func (b *Blocks) List(ctx context.Context, limit int) ([]checker.Block, error) {
	var found []checker.Block
	err := b.scan(ctx, func(values map[string]string) error {
		for key, value := range values {
			found = append(found, readable(b.scopeOf(key, value), value))
		}
		if limit > 0 && len(found) > 2*limit+scanCount {
			found = store.First(found, limit)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return store.First(found, limit), nil
}

// scopeOf returns the scope of a block key. Long scope values are hashed in the key, so they are
// read from the block.
func (b *Blocks) scopeOf(key, value string) checker.Scope {
	block, err := wire.DecodeBlock([]byte(value))
	if err == nil && b.keys.Block(block.Scope) == key {
		return block.Scope
	}
	typ, val, _ := strings.Cut(strings.TrimPrefix(key, b.keys.Prefix+":block:"), ":")
	return checker.Scope{Type: typ, Value: val}
}

// scan calls fn with keys and values of all blocks in batches, never concurrently. It may pass a
// block twice.
func (b *Blocks) scan(ctx context.Context, fn func(values map[string]string) error) error {
	cluster, ok := b.client.(*redis.ClusterClient)
	if !ok {
		return b.scanServer(ctx, b.client, fn)
	}
	var one sync.Mutex
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, server *redis.Client) error {
		return b.scanServer(ctx, server, func(values map[string]string) error {
			one.Lock()
			defer one.Unlock()
			return fn(values)
		})
	})
	if err != nil {
		return fmt.Errorf("scan cluster: %w", err)
	}
	return nil
}

func (b *Blocks) scanServer(ctx context.Context, server redis.Cmdable, fn func(values map[string]string) error) error {
	var cursor uint64
	for {
		keys, next, err := server.Scan(ctx, cursor, b.keys.BlockPattern(), scanCount).Result()
		if err != nil {
			return fmt.Errorf("scan keys: %w", err)
		}
		values, err := read(ctx, server, keys)
		if err != nil {
			return err
		}
		if len(values) > 0 {
			if err := fn(values); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// read sends a GET per key, since MGET requires all keys in one slot. Missing keys and foreign
// values are left out.
func read(ctx context.Context, server redis.Cmdable, keys []string) (map[string]string, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	pipe := server.Pipeline()
	gets := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		gets[i] = pipe.Get(ctx, key)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	values := make(map[string]string, len(keys))
	for i, get := range gets {
		switch value, err := get.Result(); {
		case err == nil:
			values[keys[i]] = value
		case !errors.Is(err, redis.Nil) && !redislua.WrongType(err) && !redis.HasErrorPrefix(err, "MOVED"):
			return nil, fmt.Errorf("read blocks: %w", err)
		}
	}
	return values, nil
}
