package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Known returns the state of scopes by the membership hash, which holds blocks that Postgres has,
// and the tombstones. undurable are permanent blocks in the scopes' keys that Postgres may lack;
// zero for scopes without one.
func (b *Blocks) Known(ctx context.Context, scopes []checker.Scope) (states []store.State, undurable []checker.Block, err error) {
	fields := make([]string, len(scopes))
	tombstones, blocks := make([]*redis.StringCmd, len(scopes)), make([]*redis.StringCmd, len(scopes))
	pipe := b.client.Pipeline()
	for i, s := range scopes {
		fields[i] = rediskey.MemberField(s)
		tombstones[i] = pipe.Get(ctx, b.keys.Unblocked(s))
		blocks[i] = pipe.Get(ctx, b.keys.Block(s))
	}
	members := pipe.HMGet(ctx, b.keys.Permanent(), fields...)
	cmds, err := pipe.Exec(ctx)
	if err := redislua.FirstFailure(cmds, err); err != nil {
		return nil, nil, fmt.Errorf("read permanent blocks: %w", err)
	}
	states, undurable = make([]store.State, len(scopes)), make([]checker.Block, len(scopes))
	for i, s := range scopes {
		states[i].Tombstone = tombstoneTime(tombstones[i].Val())
		if raw := blocks[i].Val(); raw != "" && !wire.IsCopy(raw) {
			if held, err := wire.DecodeBlock([]byte(raw)); err == nil && held.Permanent() {
				undurable[i] = held
			}
		}
		raw, _ := members.Val()[i].(string)
		if raw == "" {
			continue
		}
		if m, err := wire.DecodeMember(s, []byte(raw)); err == nil {
			states[i].Block = m
		}
	}
	return states, undurable, nil
}

// Confirm writes blocks that Postgres has committed to their keys and the membership hash. A scope
// that was unblocked after the event gets neither and has the outcome Unblocked; the other outcomes
// are as far as Redis knows.
func (b *Blocks) Confirm(ctx context.Context, puts []store.Put) ([]store.Outcome, error) {
	if len(puts) == 0 {
		return nil, nil
	}
	changes := make([]change, len(puts))
	for i, p := range puts {
		value, err := wire.EncodeMember(p.Block)
		if err != nil {
			return nil, fmt.Errorf("confirm blocks: %w", err)
		}
		changes[i] = change{field: rediskey.MemberField(p.Block.Scope), value: string(value)}
	}
	confirm := b.confirmTogether
	if b.clustered {
		confirm = b.confirmApart
	}
	outcomes, err := confirm(ctx, puts, changes)
	if err != nil {
		return nil, fmt.Errorf("confirm blocks: %w", err)
	}
	if err := b.announce(ctx, scopesOf(puts)); err != nil {
		return nil, fmt.Errorf("confirm blocks: %w", err)
	}
	return outcomes, nil
}

// confirmTogether writes key and field of a block atomically.
func (b *Blocks) confirmTogether(ctx context.Context, puts []store.Put, changes []change) ([]store.Outcome, error) {
	var warm *redis.IntCmd
	outcomes, err := b.copies(ctx, puts, changes, func(pipe redis.Pipeliner) { warm = pipe.Del(ctx, b.keys.Warm()) })
	if err != nil {
		return nil, err
	}
	if err := warm.Err(); err != nil {
		return nil, fmt.Errorf("delete sentinel: %w", err)
	}
	return outcomes, nil
}

// confirmApart writes the fields first and the keys second, since they are on different servers,
// and removes the fields of scopes that were unblocked. A concurrent write of the same scope can
// leave the hash wrong until the reconciler repairs it.
func (b *Blocks) confirmApart(ctx context.Context, puts []store.Put, changes []change) ([]store.Outcome, error) {
	if _, err := b.changeMembers(ctx, changes); err != nil {
		return nil, err
	}
	outcomes, err := b.copies(ctx, puts, nil, nil)
	if err != nil {
		return nil, err
	}
	var undo []change
	for i, outcome := range outcomes {
		if outcome == store.Unblocked || outcome == store.Lapsed {
			undo = append(undo, change{field: changes[i].field, only: changes[i].value})
		}
	}
	_, err = b.changeMembers(ctx, undo)
	return outcomes, err
}

// Refresh writes the keys of blocks that Postgres has, except for scopes unblocked since.
func (b *Blocks) Refresh(ctx context.Context, blocks []checker.Block) error {
	puts := make([]store.Put, len(blocks))
	for i, block := range blocks {
		puts[i] = store.Put{Block: block, EvidenceTime: block.CreatedAt}
	}
	if _, err := b.copies(ctx, puts, nil, nil); err != nil {
		return fmt.Errorf("refresh copies: %w", err)
	}
	return nil
}

// copies writes block keys, and with changes also the membership hash. A key with a foreign value
// is left unchanged.
func (b *Blocks) copies(ctx context.Context, puts []store.Put, changes []change, with func(redis.Pipeliner)) ([]store.Outcome, error) {
	calls := make([]redislua.Call, len(puts))
	for i, p := range puts {
		value, err := wire.EncodeCopy(p.Block)
		if err != nil {
			return nil, fmt.Errorf("encode copy: %w", err)
		}
		calls[i] = redislua.Call{
			Script: b.scripts.copyOf, Keys: b.blockKeys(p.Block.Scope),
			Args: []any{value, evidenceTime(p), milliseconds(b.ttl)},
		}
		if changes != nil {
			calls[i].Keys = b.allKeys(p.Block.Scope)
			calls[i].Args = append(calls[i].Args, changes[i].field, changes[i].value, rand.Text())
		}
	}
	cmds, err := redislua.RunAll(ctx, b.client, calls, with)
	if err != nil {
		return nil, err
	}
	outcomes := make([]store.Outcome, len(puts))
	for i, cmd := range cmds {
		n, err := cmd.Int()
		if err != nil && !redislua.WrongType(err) {
			return nil, fmt.Errorf("write copy: %w", err)
		}
		outcomes[i] = store.Outcome(n) //nolint:gosec // the script's own small numbers
	}
	return outcomes, nil
}

// tombstoneTime reads a tombstone; zero if there is none.
func tombstoneTime(raw string) time.Time {
	ms, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
