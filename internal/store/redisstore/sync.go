package redisstore

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Sweep deletes copies of permanent blocks that Postgres no longer has and returns their number. It
// calls active with a bounded number of scopes at a time. It keeps temporary blocks, blocks of
// other software, and permanent blocks that Postgres never had.
func (b *Blocks) Sweep(ctx context.Context, active store.Active) (int, error) {
	removed := 0
	err := b.scan(ctx, func(values map[string]string) error {
		keys := map[checker.Scope]string{}
		for key, value := range values {
			if wire.IsCopy(value) {
				keys[b.scopeOf(key, value)] = key
			}
		}
		if err := forgetActive(ctx, keys, active); err != nil {
			return err
		}
		n, err := b.discard(ctx, keys, values)
		removed += n
		if err != nil || n == 0 {
			return err
		}
		return b.announce(ctx, slices.Collect(maps.Keys(keys)))
	})
	if err != nil {
		return removed, fmt.Errorf("sweep copies: %w", err)
	}
	return removed, nil
}

// forgetActive removes the scopes that are still blocked from keys.
func forgetActive(ctx context.Context, keys map[checker.Scope]string, active store.Active) error {
	if len(keys) == 0 {
		return nil
	}
	scopes := make([]checker.Scope, 0, len(keys))
	for scope := range keys {
		scopes = append(scopes, scope)
	}
	blocks, err := active(ctx, scopes)
	if err != nil {
		return err
	}
	for _, block := range blocks {
		delete(keys, block.Scope)
	}
	return nil
}

// discard deletes the keys that still have the given values and returns how many it deleted.
func (b *Blocks) discard(ctx context.Context, keys map[checker.Scope]string, values map[string]string) (int, error) {
	calls := make([]redislua.Call, 0, len(keys))
	for _, key := range keys {
		calls = append(calls, redislua.Call{Script: b.scripts.discard, Keys: []string{key}, Args: []any{values[key]}})
	}
	cmds, err := redislua.RunAll(ctx, b.client, calls, nil)
	if err != nil {
		return 0, fmt.Errorf("discard copies: %w", err)
	}
	total := 0
	for _, cmd := range cmds {
		n, err := cmd.Int()
		if err != nil && !redislua.WrongType(err) {
			return total, fmt.Errorf("discard copies: %w", err)
		}
		total += n
	}
	return total, nil
}

// Sync makes the membership hash and the keys of scopes equal to Postgres and returns how many it
// changed. It reads Redis before Postgres and deletes only values that it read, so that a block
// written meanwhile stays. A tombstone that it read does not reject a block: Postgres, where every
// unblock comes first, has decided between the two, by the time of evidence that the block itself
// does not have.
func (b *Blocks) Sync(ctx context.Context, scopes []checker.Scope, active store.Active) (int, error) {
	members, values, err := b.copiesOf(ctx, scopes)
	if err != nil {
		return 0, fmt.Errorf("synchronise blocks: %w", err)
	}
	blocks, err := active(ctx, scopes)
	if err != nil {
		return 0, fmt.Errorf("synchronise blocks: %w", err)
	}
	missing, err := b.missing(blocks, members, values)
	if err != nil {
		return 0, fmt.Errorf("synchronise blocks: %w", err)
	}
	for _, block := range blocks {
		delete(members, block.Scope)
	}
	if _, err := b.Confirm(ctx, missing); err != nil {
		return 0, err
	}
	stale := make(map[checker.Scope]string, len(members))
	var changes []change
	for scope, raw := range members {
		if raw != "" {
			changes = append(changes, change{field: rediskey.MemberField(scope), only: raw})
		}
		if key := b.keys.Block(scope); wire.IsCopy(values[key]) {
			stale[scope] = key
		}
	}
	if _, err := b.changeMembers(ctx, changes); err != nil {
		return 0, fmt.Errorf("synchronise blocks: %w", err)
	}
	discarded, err := b.discard(ctx, stale, values)
	if err == nil && discarded+len(changes) > 0 {
		err = b.announce(ctx, slices.Collect(maps.Keys(members)))
	}
	return len(missing) + max(discarded, len(changes)), err
}

// copiesOf reads the fields of the membership hash, and the block keys and tombstones of scopes.
func (b *Blocks) copiesOf(ctx context.Context, scopes []checker.Scope) (members map[checker.Scope]string, values map[string]string, err error) {
	fields := make([]string, len(scopes))
	var keys []string
	for i, s := range scopes {
		fields[i] = rediskey.MemberField(s)
		keys = append(keys, b.blockKeys(s)...)
	}
	got, err := b.client.HMGet(ctx, b.keys.Permanent(), fields...).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read membership hash: %w", err)
	}
	members = make(map[checker.Scope]string, len(scopes))
	for i, s := range scopes {
		members[s], _ = got[i].(string)
	}
	values, err = read(ctx, b.client, keys)
	return members, values, err
}

// missing returns puts for blocks whose field in the membership hash differs or whose key is
// missing.
func (b *Blocks) missing(blocks []checker.Block, members map[checker.Scope]string, values map[string]string) ([]store.Put, error) {
	var puts []store.Put
	for _, block := range blocks {
		value, err := wire.EncodeMember(block)
		if err != nil {
			return nil, fmt.Errorf("encode member: %w", err)
		}
		if members[block.Scope] != string(value) || values[b.keys.Block(block.Scope)] == "" {
			puts = append(puts, store.Put{Block: block, EvidenceTime: store.After(tombstoneTime(values[b.keys.Unblocked(block.Scope)]))})
		}
	}
	return puts, nil
}
