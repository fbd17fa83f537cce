// Package memstore stores blocks in memory, for the demo and tests, and as the reference that other
// stores are compared with.
package memstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// tombstoneTTL is how long an unblock is remembered.
const tombstoneTTL = 30 * 24 * time.Hour

// sweepEvery is the number of Puts after which expired states are deleted.
const sweepEvery = 4096

// Blocks is a [store.Blocks] in memory. It can also be the durable tier of a tiered store.
type Blocks struct {
	now func() time.Time

	mu     sync.Mutex
	states map[checker.Scope]store.State
	puts   int
}

// NewBlocks returns an empty store with the clock now.
func NewBlocks(now func() time.Time) *Blocks {
	return &Blocks{now: now, states: map[checker.Scope]store.State{}}
}

// Put implements [store.Blocks].
func (b *Blocks) Put(_ context.Context, puts []store.Put) ([]store.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	results := make([]store.Result, len(puts))
	for i, p := range puts {
		p, err := prepare(p, now)
		if err != nil {
			results[i].Err = fmt.Errorf("put block: %w", err)
			continue
		}
		b.sweep(now)
		state, outcome := b.states[p.Block.Scope].Decide(p, now)
		b.states[p.Block.Scope] = state
		results[i] = store.Result{Outcome: outcome, Block: state.Block}
	}
	return results, nil
}

// prepare rejects what the other stores cannot write either.
func prepare(p store.Put, now time.Time) (store.Put, error) {
	p, err := store.Prepare(p, now)
	if err != nil {
		return p, fmt.Errorf("prepare block: %w", err)
	}
	if _, err := wire.EncodeBlock(p.Block); err != nil {
		return p, fmt.Errorf("%w: %w", store.ErrUnstorable, err)
	}
	return p, nil
}

// sweep deletes scopes without a block and a tombstone, once every sweepEvery Puts.
func (b *Blocks) sweep(now time.Time) {
	if b.puts++; b.puts%sweepEvery != 0 {
		return
	}
	for scope, s := range b.states {
		if !s.Held(now) && s.Tombstone.Before(now.Add(-tombstoneTTL)) {
			delete(b.states, scope)
		}
	}
}

// Len returns the number of scopes in the store.
func (b *Blocks) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.states)
}

// Lookup implements [checker.Lookup].
func (b *Blocks) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var found []checker.Block
	for _, scope := range scopes {
		if s := b.states[scope]; s.Held(now) {
			found = append(found, s.Block)
		}
	}
	return found, nil
}

// Unblock implements [store.Blocks].
func (b *Blocks) Unblock(_ context.Context, r store.Revocation) ([]checker.Block, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	s := b.states[r.Scope]
	var lifted []checker.Block
	if s.Held(now) {
		lifted = append(lifted, s.Block)
	}
	b.states[r.Scope] = store.State{Tombstone: later(s.Tombstone, r.Time(now))}
	return lifted, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Lift removes the tombstones of scopes, as an operator's block does.
func (b *Blocks) Lift(_ context.Context, scopes []checker.Scope) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, scope := range scopes {
		if s, ok := b.states[scope]; ok {
			s.Tombstone = time.Time{}
			b.states[scope] = s
		}
	}
	return nil
}

// List implements [store.Blocks].
func (b *Blocks) List(_ context.Context, limit int) ([]checker.Block, error) {
	return store.First(b.active(), limit), nil
}

// Each calls fn for every active block of a consistent snapshot.
func (b *Blocks) Each(ctx context.Context, fn func(checker.Block) error) error {
	for _, block := range b.active() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read blocks: %w", err)
		}
		if err := fn(block); err != nil {
			return err
		}
	}
	return nil
}

func (b *Blocks) active() []checker.Block {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var blocks []checker.Block
	for _, s := range b.states {
		if s.Held(now) {
			blocks = append(blocks, s.Block)
		}
	}
	return blocks
}
