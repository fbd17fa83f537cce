package operator

import (
	"context"
	"fmt"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An UnblockRequest asks to unblock a scope.
type UnblockRequest struct {
	Scope  checker.Scope
	By     string
	Reason string
}

// Unblock lifts every block of the scope, and keeps events from before from blocking it again. It
// returns the blocks that it lifted. If there is none, a type that cannot be blocked is an error.
func (o *Operator) Unblock(ctx context.Context, r UnblockRequest) ([]checker.Block, error) {
	scope, ok := Canonical(r.Scope, o.Scopes.IPv6Prefix)
	if !ok {
		return nil, fmt.Errorf("unblock %s: %w", r.Scope, errNoScope)
	}
	if !o.Scopes.known(scope.Type) {
		if _, err := o.LookUp(ctx, scope); err != nil {
			return nil, err
		}
	}
	now := o.Now()
	revocation := store.Revocation{Scope: scope, By: r.By, Reason: r.Reason, At: now}
	if o.EventClock != nil {
		at, err := o.EventClock(ctx, now)
		if err != nil {
			return nil, fmt.Errorf("unblock %s: %w", scope, err)
		}
		revocation.At, revocation.Now = at, at
	}
	lifted, err := o.Blocks.Unblock(ctx, revocation)
	if err != nil {
		return lifted, fmt.Errorf("unblock %s: %w; it may be lifted in part: do it again", scope, err)
	}
	if len(lifted) == 0 {
		return nil, nil
	}
	return lifted, o.publish(ctx, wire.Enforcement{
		Type: wire.TypeBlockRevoked, ID: randomID(), Time: now, Observed: now, Scope: scope, RevokedBy: r.By, Reason: r.Reason,
	})
}
