package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// ManualRule is the rule name of blocks by operators.
const ManualRule = "manual"

// ErrInRedisOnly is in the chain of an error that says that a temporary block is in force,
// and only Postgres does not have it.
var ErrInRedisOnly = errors.New("the block is in force through Redis")

// A BlockRequest asks to block a scope.
type BlockRequest struct {
	Scope      checker.Scope
	TTL        time.Duration // 0: permanent
	Reason     string
	By         string
	StatusCode int    // 0: the Operator's
	Message    string // "": the Operator's
	Metadata   map[string]any
}

// Block blocks the scope, whatever the rules and the allowlist say, and returns the block
// now in effect: a weaker one is replaced, a stronger one stays.
func (o *Operator) Block(ctx context.Context, r BlockRequest) (checker.Block, error) {
	scope, ok := Canonical(r.Scope, o.Scopes.IPv6Prefix)
	if !ok || scope.Type == checker.ScopeRoute {
		return checker.Block{}, fmt.Errorf("block %s: %w", r.Scope, errNoScope)
	}
	metadata := map[string]any{}
	maps.Copy(metadata, r.Metadata)
	if r.By != "" {
		metadata["actor"] = r.By
	}
	now := o.Now()
	block := checker.Block{
		ID: randomID(), Scope: scope, Reason: r.Reason, Rule: ManualRule, StatusCode: r.StatusCode, Message: r.Message,
		CreatedAt: now, Metadata: enforce.Scrub(metadata),
	}
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

// put writes the block, and publishes it if it began or became permanent.
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
		e := wire.BlockApplied(block)
		e.Observed = o.Now()
		err = o.publish(ctx, e)
	case store.Kept, store.Extended, store.Lapsed, store.Unblocked:
	}
	return results[0].Block, errors.Join(partial, err)
}
