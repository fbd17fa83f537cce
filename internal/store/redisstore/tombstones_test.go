package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestUnblockIsRememberedForThirtyDays: entries that are delivered late, and dead letters that are
// requeued weeks later, don't block again what was unblocked, whatever was asked of the scope in
// between.
func TestUnblockIsRememberedForThirtyDays(t *testing.T) {
	t.Parallel()
	const month = 30 * 24 * time.Hour
	scope := user("a")
	at := time.Now().Add(-time.Second).UTC().Truncate(time.Millisecond)
	for name, then := range map[string]func(ctx context.Context, b *redisstore.Blocks) error{
		"nothing":         func(context.Context, *redisstore.Blocks) error { return nil },
		"temporary block": func(ctx context.Context, b *redisstore.Blocks) error { return putFrom(ctx, b, at, false) },
		"permanent block": func(ctx context.Context, b *redisstore.Blocks) error { return putFrom(ctx, b, at, true) },
		"unblock of before": func(ctx context.Context, b *redisstore.Blocks) error {
			return unblockAt(ctx, b, scope, at.Add(-time.Hour))
		},
		"later unblock": func(ctx context.Context, b *redisstore.Blocks) error {
			return unblockAt(ctx, b, scope, at.Add(time.Millisecond))
		},
		"copy of before": func(ctx context.Context, b *redisstore.Blocks) error {
			p := block(scope, "old", true)
			p.Block.CreatedAt = at
			return b.Refresh(ctx, []checker.Block{p.Block})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.Redis(t)
			b := newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
			if err := unblockAt(t.Context(), b, scope, at); err != nil {
				t.Fatal(err)
			}
			if err := then(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			ttl := env.Client.PTTL(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Unblocked(scope)).Val()
			if ttl > month || ttl < month-time.Hour {
				t.Errorf("the unblock is remembered for %s, want 30 days", ttl)
			}
			if n := env.Client.Exists(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Block(scope)).Val(); n != 0 {
				t.Error("the scope is blocked by what came before the unblock")
			}
		})
	}
}

func unblockAt(ctx context.Context, b *redisstore.Blocks, scope checker.Scope, at time.Time) error {
	_, err := b.Unblock(ctx, store.Revocation{Scope: scope, By: "ops", At: at})
	return err
}

// putFrom asks for a block by an event of the given time.
func putFrom(ctx context.Context, b *redisstore.Blocks, at time.Time, permanent bool) error {
	p := block(user("a"), "b", permanent)
	p.EvidenceTime = at
	_, err := b.Put(ctx, []store.Put{p})
	return err
}
