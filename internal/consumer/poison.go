package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// An entry that ends the process it is handled in (it exhausts memory, say) takes the whole batch
// with it each time. What gives it away is the count of deliveries, which also rises when workers
// are killed for other reasons. So an entry that was delivered too often, a poison candidate, is
// handled alone, after setting a marker. The marker is removed when the attempt ends, however it
// ends; a worker that finds one knows that the process ended first.

// markerTTL is how long a marker is kept: longer than it takes until another consumer claims
// the entry, whatever the outage.
const markerTTL = 24 * time.Hour

// A poisonGuard keeps the markers of poison candidates.
type poisonGuard struct {
	*member
	keys  rediskey.Keys
	token string // distinguishes this process's markers from those of others
}

func (g *poisonGuard) key(id string) string { return g.keys.PoisonMarker(g.stream, id) }

// mark sets the marker of an item; killed is true if it was there already, unless
// this process set it and could not remove it.
func (g *poisonGuard) mark(ctx context.Context, it *item) (killed bool, err error) {
	ctx, cancel := g.bounded(ctx)
	defer cancel()
	set, err := g.clients.Ops.SetNX(ctx, g.key(it.ID), g.token, markerTTL).Result()
	if err != nil {
		return false, fmt.Errorf("mark poison candidate: %w", err)
	}
	if set {
		it.marked = true
		return false, nil
	}
	owner, err := g.clients.Ops.Get(ctx, g.key(it.ID)).Result()
	if err != nil { // also if it has gone meanwhile
		return false, fmt.Errorf("read marker of poison candidate: %w", err)
	}
	it.marked = owner == g.token
	return !it.marked, nil
}

// unmark removes the marker of an item that has one of ours.
func (g *poisonGuard) unmark(ctx context.Context, it *item) {
	if !it.marked {
		return
	}
	if err := g.do(ctx, "DEL", g.key(it.ID)); err != nil {
		g.log.Warn("removing the marker of an entry failed", "error", err, "id", it.ID)
		return
	}
	it.marked = false
}
