package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	rebuildChunk    = 500
	rebuildAttempts = 5
	rebuildTTL      = 5 * time.Minute // of an unfinished hash since its last chunk

	swappedOther = 2 // the swap script's reply where the hash was incomplete or of another size before
)

// Members implements [store.Membership]: it describes the membership hash.
func (b *Blocks) Members(ctx context.Context) (store.Members, error) {
	pipe := b.client.Pipeline()
	complete := pipe.HExists(ctx, b.keys.Permanent(), rediskey.CompleteField)
	length := pipe.HLen(ctx, b.keys.Permanent())
	left := pipe.PTTL(ctx, b.keys.Permanent())
	if _, err := pipe.Exec(ctx); err != nil {
		return store.Members{}, fmt.Errorf("look at membership hash: %w", err)
	}
	// A hash without a TTL, which Wardstream never writes, counts as due for a rebuild.
	return store.Members{Complete: complete.Val(), Age: b.ttl - max(left.Val(), 0), Blocks: max(int(length.Val())-1, 0)}, nil
}

// Rebuild replaces the membership hash by the blocks that each yields: a consistent snapshot of all
// permanent blocks, taken after each was called. If a block changes meanwhile it discards the new
// hash and starts again, a limited number of times; then it returns [store.ErrConflict]. It returns
// the number of blocks. Any number of rebuilds may run at the same time.
func (b *Blocks) Rebuild(ctx context.Context, each func(context.Context, func(checker.Block) error) error) (int, error) {
	for range rebuildAttempts {
		n, done, err := b.rebuild(ctx, each)
		if err != nil {
			return 0, fmt.Errorf("rebuild membership hash: %w", err)
		}
		if done {
			return n, nil
		}
	}
	// The old hash is up to date, since every write changes it too.
	if err := b.client.PExpire(ctx, b.keys.Permanent(), b.ttl).Err(); err != nil {
		return 0, fmt.Errorf("keep membership hash: %w", err)
	}
	return 0, store.ErrConflict
}

func (b *Blocks) rebuild(ctx context.Context, each func(context.Context, func(checker.Block) error) error) (int, bool, error) {
	generation, err := b.generation(ctx)
	if err != nil {
		return 0, false, err
	}
	next := &building{client: b.client, key: b.keys.Rebuild(rand.Text())}
	if err := each(ctx, func(block checker.Block) error { return next.add(ctx, block) }); err != nil {
		return 0, false, errors.Join(err, next.drop(ctx))
	}
	if err := next.finish(ctx); err != nil {
		return 0, false, errors.Join(err, next.drop(ctx))
	}
	cmds, err := redislua.RunAll(ctx, b.client, []redislua.Call{{
		Script: b.scripts.swap, Keys: []string{b.keys.Permanent(), next.key, b.keys.Generation()},
		Args: []any{generation, milliseconds(b.ttl)},
	}}, nil)
	if err != nil {
		return 0, false, err
	}
	swapped, err := cmds[0].Int()
	if err == nil && swapped == swappedOther {
		err = b.announceAll(ctx)
	}
	return next.blocks, swapped > 0, err
}

// generation returns the current generation, and creates one if there is none.
func (b *Blocks) generation(ctx context.Context) (string, error) {
	pipe := b.client.Pipeline()
	pipe.SetNX(ctx, b.keys.Generation(), rand.Text(), b.ttl)
	get := pipe.Get(ctx, b.keys.Generation())
	if _, err := pipe.Exec(ctx); err != nil {
		return "", fmt.Errorf("read generation: %w", err)
	}
	return get.Val(), nil
}

// A building is a membership hash that is not in place yet.
type building struct {
	client redis.UniversalClient
	key    string
	fields []any
	blocks int
}

func (n *building) add(ctx context.Context, b checker.Block) error {
	value, err := wire.EncodeMember(b)
	if err != nil {
		return fmt.Errorf("encode member: %w", err)
	}
	n.fields = append(n.fields, rediskey.MemberField(b.Scope), value)
	n.blocks++
	if len(n.fields) < 2*rebuildChunk {
		return nil
	}
	return n.flush(ctx)
}

func (n *building) finish(ctx context.Context) error {
	n.fields = append(n.fields, rediskey.CompleteField, "1")
	return n.flush(ctx)
}

// flush writes the fields collected so far. The TTL is set in the same transaction, so that a crash
// leaves no key without one.
func (n *building) flush(ctx context.Context) error {
	_, err := n.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, n.key, n.fields...)
		pipe.PExpire(ctx, n.key, rebuildTTL)
		return nil
	})
	n.fields = n.fields[:0]
	if err != nil {
		return fmt.Errorf("write membership hash: %w", err)
	}
	return nil
}

func (n *building) drop(ctx context.Context) error {
	if err := n.client.Unlink(ctx, n.key).Err(); err != nil {
		return fmt.Errorf("drop unfinished membership hash: %w", err)
	}
	return nil
}
