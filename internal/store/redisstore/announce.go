package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// The stream of changes. Its size is bounded by scopes (some 260,000, at most 20 MB unless values are
// chosen to be long), and a follower that fell behind further takes a snapshot, which is cheaper by then.
const (
	changesKept     = 4096 // entries
	changesPerEntry = 64   // scopes
	changesPerCall  = 4096 // scopes
	changesTTL      = 24 * time.Hour
)

// announce tells mirrors that the blocks of scopes changed. It comes after the write: who reads on hearing of it
// reads what was written. It belongs to the write: if it fails the write has to be repeated, and then
// announces again.
func (b *Blocks) announce(ctx context.Context, scopes []checker.Scope) error {
	return b.announceFields(ctx, wire.ChangedFields(scopes))
}

// announceAll tells mirrors that anything may have changed.
func (b *Blocks) announceAll(ctx context.Context) error {
	return b.announceFields(ctx, []string{wire.AllChanged})
}

func (b *Blocks) announceFields(ctx context.Context, fields []string) error {
	var calls []call
	for start := 0; start < len(fields); start += changesPerCall {
		args := []any{rand.Text(), changesKept, milliseconds(changesTTL), changesPerEntry}
		for _, field := range fields[start:min(start+changesPerCall, len(fields))] {
			args = append(args, field)
		}
		calls = append(calls, call{script: b.scripts.announce, keys: []string{b.keys.Changes(), b.keys.ChangesHead()}, args: args})
	}
	if len(calls) == 0 {
		return nil
	}
	cmds, err := run(ctx, b.client, calls, nil)
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

// changed reports whether a put may have changed what a look-up finds. An extension that comes again,
// because nobody heard of it the first time, finds its own end in force.
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
