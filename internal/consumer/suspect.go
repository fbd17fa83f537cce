package consumer

import (
	"context"
	"fmt"
	"time"
)

// An entry that ends the process it is handled in (it exhausts memory, say) takes
// the whole batch with it each time. What gives it away is the count of deliveries, which
// also rises when workers are killed for other reasons. So an entry that was delivered too
// often is handled alone, after setting a mark. The mark goes when the attempt ends,
// however it ends; whoever finds one knows that the process ended first.

// markLife is how long a mark is kept: longer than it takes until somebody else claims
// the entry, whatever the outage.
const markLife = 24 * time.Hour

func (l *loop) markKey(id string) string {
	return l.Prefix + ":suspect:" + l.stream + ":" + id
}

// decideAlone handles a suspect by itself.
func (l *loop) decideAlone(ctx context.Context, it *item) {
	if ctx.Err() != nil {
		return
	}
	killer, err := l.mark(ctx, it)
	switch {
	case err != nil:
		l.outOfRoom = l.outOfRoom || isOutOfRoom(err)
		l.log.Warn("marking an entry failed; it will be handled later", "error", err, "id", it.ID)
		return
	case killer:
		it.verdict = Verdict{Status: Dead, Reason: reasonKilled}
		return // the mark ends by itself; until the entry is a dead letter it must stay
	}
	_ = l.decide(ctx, nil, []*item{it}) // logged there; the entry is pending still
	l.unmark(ctx, it)
}

// mark sets the mark of an item; killer is true if it was there already, unless
// this process set it and could not remove it.
func (l *loop) mark(ctx context.Context, it *item) (killer bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	set, err := l.Clients.Ops.SetNX(ctx, l.markKey(it.ID), l.token, markLife).Result()
	if err != nil {
		return false, fmt.Errorf("mark suspect: %w", err)
	}
	if set {
		it.marked = true
		return false, nil
	}
	owner, err := l.Clients.Ops.Get(ctx, l.markKey(it.ID)).Result()
	if err != nil { // also if it has gone meanwhile
		return false, fmt.Errorf("read mark of suspect: %w", err)
	}
	it.marked = owner == l.token
	return !it.marked, nil
}

// unmark removes the mark of an item that has one of ours.
func (l *loop) unmark(ctx context.Context, it *item) {
	if !it.marked {
		return
	}
	if err := l.do(ctx, "DEL", l.markKey(it.ID)); err != nil {
		l.log.Warn("removing the mark of an entry failed", "error", err, "id", it.ID)
		return
	}
	it.marked = false
}
