package detector

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// manualRule is the rule name of blocks that an operator asked for.
const manualRule = "manual"

// An Operator blocks and unblocks by hand, and tells of it as the worker does.
type Operator struct {
	Blocks store.Blocks
	Sinks  emitter
	// StatusCode and Message answer requests of who is blocked without saying otherwise.
	StatusCode int
	Message    string
	// IPv6Prefix is how many bits of an IPv6 address make one scope; 0 means all.
	IPv6Prefix int
	Now        func() time.Time

	moment moment // nil: Now
	sinks  configuredSinks
}

// A moment tells the time that events have, which may be another than ours.
type moment interface {
	latest(ctx context.Context, now time.Time) (time.Time, error)
}

// NewOperator returns an Operator on the stores. The configured sinks are told
// of what it does, once each; standard output is not, which belongs to the worker.
func NewOperator(ctx context.Context, cfg *config.Config, s *Stores, version string) (*Operator, error) {
	opened, err := openSinks(ctx, cfg, s, environment, originOf(cfg, version))
	if err != nil {
		return nil, err
	}
	return &Operator{
		Blocks: s.Blocks, Sinks: sinks.Direct(opened.named), StatusCode: cfg.Blocks.StatusCode, Message: cfg.Blocks.Message,
		IPv6Prefix: cfg.IPv6Prefix, Now: time.Now, sinks: opened,
		moment: streamMoment{client: s.Clients.Ops, streams: cfg.Stream.Names},
	}, nil
}

// Close lets go of the sinks; the stores are the caller's.
func (o *Operator) Close(ctx context.Context) error { return o.sinks.close(ctx) }

// A BlockRequest is an operator's wish to block a scope.
type BlockRequest struct {
	Scope      checker.Scope
	TTL        time.Duration // 0: permanent
	Reason     string
	By         string
	StatusCode int
	Message    string
	Metadata   map[string]any
}

// An UnblockRequest is an operator's wish to unblock a scope.
type UnblockRequest struct {
	Scope  checker.Scope
	By     string
	Reason string
}

var errNoScope = errors.New("not a scope that can be blocked")

// ErrUntold is in the chain of an error that says that a block or an unblock is
// done, and only its enforcement event was not emitted.
var ErrUntold = errors.New("it is done, but its enforcement event was not emitted")

// ErrInRedisOnly is in the chain of an error that says that a temporary block is in force, and only what Postgres should
// know of it is missing there.
var ErrInRedisOnly = errors.New("the block is in force through Redis")

// Block blocks at once, whatever else is known of the scope. It returns the
// block that is in force afterwards.
func (o *Operator) Block(ctx context.Context, r BlockRequest) (checker.Block, error) {
	scope, ok := o.Canonical(r.Scope)
	if !ok || scope.Type == checker.ScopeRoute {
		return checker.Block{}, fmt.Errorf("block %s: %w", r.Scope, errNoScope)
	}
	now := o.Now()
	block := checker.Block{
		ID: randomID(), Scope: scope, Reason: r.Reason, Rule: manualRule, StatusCode: r.StatusCode, Message: r.Message,
		CreatedAt: now, Metadata: map[string]any{},
	}
	for k, v := range r.Metadata {
		block.Metadata[k] = v
	}
	if r.By != "" {
		block.Metadata["actor"] = r.By
	}
	block.Metadata = enforce.Scrub(block.Metadata)
	if block.StatusCode == 0 {
		block.StatusCode = o.StatusCode
	}
	if block.Message == "" {
		block.Message = o.Message
	}
	if r.TTL > 0 {
		block.ExpiresAt = now.Add(r.TTL)
	}
	return o.put(ctx, block)
}

func (o *Operator) put(ctx context.Context, block checker.Block) (checker.Block, error) {
	results, err := o.Blocks.Put(ctx, []store.Put{{Block: block}})
	if err == nil {
		err = results[0].Err
	}
	var partial error
	if errors.Is(err, store.ErrPartial) && !block.Permanent() {
		partial, err = fmt.Errorf("%w: %w", ErrInRedisOnly, err), nil
	}
	if err != nil {
		return checker.Block{}, fmt.Errorf("block %s: %w", block.Scope, err)
	}
	switch results[0].Outcome {
	case store.Began, store.BecamePermanent:
		e := appliedEvent(block)
		e.Observed = o.Now()
		err = o.tell(ctx, e)
	case store.Kept, store.Extended, store.Lapsed, store.Unblocked:
	}
	return results[0].Block, errors.Join(partial, err)
}

// Unblock lifts every block of the scope and sees to it that events from
// before don't block it again. It returns what it lifted.
func (o *Operator) Unblock(ctx context.Context, r UnblockRequest) ([]checker.Block, error) {
	scope, ok := o.Canonical(r.Scope)
	if !ok {
		return nil, fmt.Errorf("unblock %s: %w", r.Scope, errNoScope)
	}
	now := o.Now()
	revocation := store.Revocation{Scope: scope, By: r.By, Reason: r.Reason, At: now}
	if o.moment != nil {
		at, err := o.moment.latest(ctx, now)
		if err != nil {
			return nil, fmt.Errorf("unblock %s: %w", scope, err)
		}
		revocation.At, revocation.Now = at, at
	}
	lifted, err := o.Blocks.Unblock(ctx, revocation)
	if err != nil {
		return lifted, fmt.Errorf("unblock %s: %w", scope, err)
	}
	if len(lifted) == 0 {
		return nil, nil
	}
	return lifted, o.tell(ctx, wire.Enforcement{
		Type: wire.TypeBlockRevoked, ID: randomID(), Time: now, Observed: now, Scope: scope, RevokedBy: r.By, Reason: r.Reason,
	})
}

func (o *Operator) tell(ctx context.Context, e wire.Enforcement) error {
	if err := o.Sinks.Emit(ctx, []wire.Enforcement{e}); err != nil {
		return fmt.Errorf("%w: %w", ErrUntold, err)
	}
	return nil
}

// Canonical is the scope as detection and ingress write it; false if it is
// none. An IPv6 address stands for its prefix of IPv6Prefix bits, and a range for itself.
func (o *Operator) Canonical(s checker.Scope) (checker.Scope, bool) {
	if s.Type != checker.ScopeIP {
		return checker.NewScope(s.Type, s.Value)
	}
	value := strings.TrimSpace(s.Value)
	if p, err := netip.ParsePrefix(value); err == nil {
		if !p.IsSingleIP() {
			return checker.RangeScope(p)
		}
		value = p.Addr().String()
	}
	addr, ok := checker.ParseAddr(value)
	if !ok {
		return checker.Scope{}, false
	}
	return checker.IPScope(addr, o.IPv6Prefix), true
}

func randomID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}
