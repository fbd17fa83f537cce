package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Size of the stream of changes: about 260,000 scopes and 20 MB, more if values are long. A
// follower that is further behind takes a snapshot, which is cheaper by then.
const (
	changesKept     = 4096 // entries
	changesPerEntry = 64   // scopes
	changesPerCall  = 4096 // scopes
	changesTTL      = 24 * time.Hour
)

// announce adds the change of scopes to the stream that mirrors follow. Call it after the write:
// readers that react to the announcement are guaranteed to see the write. If it fails the write
// must be retried, which announces again.
func (b *Blocks) announce(ctx context.Context, scopes []checker.Scope) error {
	return b.announceFields(ctx, wire.ChangedFields(scopes))
}

// announceAll announces that any block may have changed.
func (b *Blocks) announceAll(ctx context.Context) error {
	return b.announceFields(ctx, []string{wire.AllChanged})
}

func (b *Blocks) announceFields(ctx context.Context, fields []string) error {
	var calls []redislua.Call
	for start := 0; start < len(fields); start += changesPerCall {
		args := []any{rand.Text(), changesKept, milliseconds(changesTTL), changesPerEntry}
		for _, field := range fields[start:min(start+changesPerCall, len(fields))] {
			args = append(args, field)
		}
		calls = append(calls, redislua.Call{Script: b.scripts.announce, Keys: []string{b.keys.Changes(), b.keys.ChangesHead()}, Args: args})
	}
	if len(calls) == 0 {
		return nil
	}
	cmds, err := redislua.RunAll(ctx, b.client, calls, nil)
	if err != nil {
		return fmt.Errorf("announce changes: %w", err)
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return fmt.Errorf("announce changes: %w", err)
		}
	}
	return nil
}

// changed reports whether a put may have changed the result of a look-up. A retried extension,
// whose first announcement failed, is Kept with its own expiry in effect and counts as a change.
func changed(p store.Put, r store.Result) bool {
	switch r.Outcome {
	case store.Began, store.BecamePermanent, store.Extended:
		return true
	case store.Kept:
		return p.EvidenceTime.IsZero() || !p.Block.Permanent() && r.Block.ExpiresAt.Equal(p.Block.ExpiresAt)
	}
	return false
}

func scopesOf(puts []store.Put) []checker.Scope {
	scopes := make([]checker.Scope, len(puts))
	for i, p := range puts {
		scopes[i] = p.Block.Scope
	}
	return scopes
}
