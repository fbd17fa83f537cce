// Package redisstore keeps blocks in Redis: one server, Sentinel's
// or a Redis Cluster, 6.2 or later. Every key it writes has a TTL.
package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// Defaults of BlockOptions.
const (
	DefaultPermanentTTL = time.Hour
	DefaultTombstoneTTL = 30 * 24 * time.Hour
)

// BlockOptions configure Blocks; zero values mean the defaults.
type BlockOptions struct {
	// Prefix starts all keys; rediskey.DefaultPrefix.
	Prefix string
	// PermanentTTL is the TTL of permanent blocks' keys and of the membership
	// hash; DefaultPermanentTTL, at least a second.
	PermanentTTL time.Duration
	// TombstoneTTL is how long an unblock is remembered; DefaultTombstoneTTL. It should be
	// longer than the stream's retention.
	TombstoneTTL time.Duration
	// Now is the clock by which blocks are read; time.Now. Writes use Redis's clock.
	Now func() time.Time
}

// Blocks is a [store.Blocks] over Redis. Used alone, it keeps permanent blocks for PermanentTTL
// after their last match. Used with Postgres it is the copy that checkers read; the methods beyond
// store.Blocks are for that.
type Blocks struct {
	client       redis.UniversalClient
	clustered    bool
	keys         rediskey.Keys
	scripts      scripts
	lookup       *redislookup.Lookup
	ttl          time.Duration
	tombstoneTTL time.Duration
	now          func() time.Time
}

// NewBlocks returns Blocks over client, which the caller closes and which must not retry
// (MaxRetries
// -1). It does not open a connection.
func NewBlocks(client redis.UniversalClient, o BlockOptions) (*Blocks, error) {
	if o.Prefix == "" {
		o.Prefix = rediskey.DefaultPrefix
	}
	if err := rediskey.CheckPrefix(o.Prefix); err != nil {
		return nil, fmt.Errorf("make Redis block store: %w", err)
	}
	if o.PermanentTTL == 0 {
		o.PermanentTTL = DefaultPermanentTTL
	}
	if o.TombstoneTTL == 0 {
		o.TombstoneTTL = DefaultTombstoneTTL
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	_, clustered := client.(*redis.ClusterClient)
	return &Blocks{
		client: client, clustered: clustered, keys: rediskey.Keys{Prefix: o.Prefix}, scripts: blockScripts(),
		lookup: redislookup.New(client, redislookup.WithKeyPrefix(o.Prefix), redislookup.WithClock(o.Now), redislookup.WithMetadata()),
		ttl:    max(o.PermanentTTL, time.Second), tombstoneTTL: max(o.TombstoneTTL, time.Second), now: o.Now,
	}, nil
}

// Lookup implements [checker.Lookup]. A missing membership hash counts as empty; see LookupWith.
func (b *Blocks) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	blocks, err := b.lookup.Lookup(ctx, scopes)
	if err != nil {
		return blocks, fmt.Errorf("look blocks up: %w", err)
	}
	return blocks, nil
}

// PermanentTTL returns the TTL of copies of permanent blocks.
func (b *Blocks) PermanentTTL() time.Duration { return b.ttl }

// LookupWith returns a look-up of the same blocks that asks cold for permanent ones while the
// membership hash is missing.
func (b *Blocks) LookupWith(cold checker.Lookup) checker.Lookup {
	return redislookup.New(b.client, redislookup.WithKeyPrefix(b.keys.Prefix), redislookup.WithClock(b.now),
		redislookup.WithColdLookup(cold), redislookup.WithMetadata())
}

// Unblock implements [store.Blocks]. On a single server it is atomic. In a Redis Cluster it changes
// the block's key and the tombstone first and the membership hash second. A concurrent Put of a
// permanent block writes them in the opposite order, so at least one of the two sees the other.
func (b *Blocks) Unblock(ctx context.Context, r store.Revocation) ([]checker.Block, error) {
	if r.At.IsZero() {
		r.At = b.now()
	}
	field := rediskey.MemberField(r.Scope)
	var warm *redis.IntCmd
	cmds, err := redislua.RunAll(ctx, b.client, []redislua.Call{{
		Script: b.scripts.unblock, Keys: b.allKeys(r.Scope),
		Args: []any{r.At.UnixMilli(), milliseconds(b.tombstoneTTL), field, rand.Text(), milliseconds(b.ttl), max(r.Now.UnixMilli(), 0)},
	}}, func(pipe redis.Pipeliner) { warm = pipe.Del(ctx, b.keys.Warm()) })
	if err != nil {
		return nil, fmt.Errorf("unblock: %w", err)
	}
	values, err := cmds[0].StringSlice()
	if err := errors.Join(keyError(err), warm.Err()); err != nil {
		return nil, fmt.Errorf("unblock: %w", err)
	}
	if b.clustered {
		members, err := b.changeMembers(ctx, []change{{field: field}})
		if err != nil {
			return nil, fmt.Errorf("unblock: %w", err)
		}
		values = append(values[:1], members...)
	}
	if err := b.announce(ctx, []checker.Scope{r.Scope}); err != nil {
		return nil, fmt.Errorf("unblock: %w", err)
	}
	return lifted(r.Scope, values[0], values[1:], b.now()), nil
}

// blockKeys are the keys of a script about one scope.
func (b *Blocks) blockKeys(s checker.Scope) []string {
	return []string{b.keys.Block(s), b.keys.Unblocked(s)}
}

// allKeys are those and, except in a Cluster, the membership hash and the generation.
func (b *Blocks) allKeys(s checker.Scope) []string {
	keys := b.blockKeys(s)
	if !b.clustered {
		keys = append(keys, b.keys.Permanent(), b.keys.Generation())
	}
	return keys
}

// lifted decodes the removed blocks: that of the key, and that of the membership hash if it
// differs.
func lifted(scope checker.Scope, value string, members []string, now time.Time) []checker.Block {
	var out []checker.Block
	if value != "" {
		out = append(out, readable(scope, value))
	}
	for _, raw := range members {
		if raw == "" {
			continue
		}
		m, err := wire.DecodeMember(scope, []byte(raw))
		if err == nil && m.ActiveAt(now) && (len(out) == 0 || m.Stronger(out[0])) {
			out = append(out, m)
		}
	}
	return out
}

// readable decodes the value of a block key. A corrupt value makes look-ups fail, so it is returned
// as a block too, to be listed and removed.
func readable(scope checker.Scope, value string) checker.Block {
	b, err := wire.DecodeBlock([]byte(value))
	if err != nil {
		return checker.Block{Scope: scope, StatusCode: wire.DefaultStatus, Message: wire.DefaultMessage}
	}
	b.Scope = scope
	return b
}

// A change is one change of the membership hash. An empty value deletes the
// field, if its value is only or only is empty.
type change struct{ field, value, only string }

// changeMembers changes the membership hash, if it exists, and the generation, and makes readers of
// the Python library reload. It returns the previous values of the fields.
func (b *Blocks) changeMembers(ctx context.Context, changes []change) ([]string, error) {
	var had []string
	for start := 0; start < len(changes); start += redislua.CallsPerPipeline {
		part := changes[start:min(start+redislua.CallsPerPipeline, len(changes))]
		args := []any{rand.Text(), milliseconds(b.ttl)}
		for _, c := range part {
			args = append(args, c.field, c.value, c.only)
		}
		var warm *redis.IntCmd
		cmds, err := redislua.RunAll(ctx, b.client, []redislua.Call{{
			Script: b.scripts.member, Keys: []string{b.keys.Permanent(), b.keys.Generation()}, Args: args,
		}}, func(pipe redis.Pipeliner) { warm = pipe.Del(ctx, b.keys.Warm()) })
		if err != nil {
			return nil, fmt.Errorf("change membership hash: %w", err)
		}
		values, err := cmds[0].StringSlice()
		if err != nil {
			return nil, fmt.Errorf("change membership hash: %w", err)
		}
		if err := warm.Err(); err != nil {
			return nil, fmt.Errorf("delete sentinel: %w", err)
		}
		had = append(had, values...)
	}
	return had, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
