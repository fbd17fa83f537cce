// Package operator is what an operator can do by hand: block a scope, unblock it, list blocks and
// look them up. The command line and every other interface call it with values and print values.
package operator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/sinks/sinkset"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/streamclock"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An Operator blocks and unblocks scopes immediately, independent of rules, and publishes
// the same enforcement events as a worker.
type Operator struct {
	Blocks store.Blocks
	Sinks  emitter
	// StatusCode and Message answer denied requests unless the block has its own.
	StatusCode int
	Message    string
	Scopes     Scopes
	Now        func() time.Time
	// EventClock returns a time that no event of the streams is later than, given Now; nil means
	// Now.
	EventClock func(ctx context.Context, now time.Time) (time.Time, error)

	opened *sinkset.Set
}

// An emitter publishes enforcement events.
type emitter interface {
	Emit(ctx context.Context, events []wire.Enforcement) error
}

// New returns an Operator on the stores, which stay the caller's. It publishes to the
// configured sinks, once each, but not to standard output, which belongs to the worker.
func New(ctx context.Context, cfg *config.Config, s *backends.Stores, version string) (*Operator, error) {
	opened, err := sinkset.Open(ctx, cfg, s.Clients.Ops, os.Getenv, sinkset.Origin(cfg, version))
	if err != nil {
		return nil, err
	}
	clock, streams := streamclock.Clock{Client: s.Clients.Ops}, cfg.Stream.Names
	return &Operator{
		Blocks: s.Blocks, Sinks: sinks.Direct(opened.Sinks), StatusCode: cfg.Blocks.StatusCode, Message: cfg.Blocks.Message,
		Scopes: ScopesOf(cfg), Now: time.Now, opened: opened,
		EventClock: func(ctx context.Context, now time.Time) (time.Time, error) { return clock.Latest(ctx, streams, now) },
	}, nil
}

// Close closes the sinks. The stores are the caller's.
func (o *Operator) Close(ctx context.Context) error { return o.opened.Close(ctx) }

// LookUp is [Reader.LookUp].
func (o *Operator) LookUp(ctx context.Context, scope checker.Scope) ([]checker.Block, error) {
	return Reader{Blocks: o.Blocks, Scopes: o.Scopes}.LookUp(ctx, scope)
}

var errNoScope = errors.New("not a scope that can be blocked")

// ErrNotPublished is in the chain of an error that says that a block or an unblock is done,
// and only its enforcement event was not published.
var ErrNotPublished = errors.New("it is done, but its enforcement event was not emitted")

func (o *Operator) publish(ctx context.Context, e wire.Enforcement) error {
	if err := o.Sinks.Emit(ctx, []wire.Enforcement{e}); err != nil {
		return fmt.Errorf("%w: %w", ErrNotPublished, err)
	}
	return nil
}

func randomID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}
