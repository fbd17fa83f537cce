package consumer

import (
	"context"
	"fmt"

	"github.com/wardstream/wardstream/internal/resp"
)

// A membership is that of a consumer in its group: it joins, notices that the group is gone, and
// leaves.
type membership struct {
	*member
	joined bool // the group is there, as far as known
	before bool // it has been there since the read loop began
}

// join makes the group where it isn't there, from the start of what the stream
// holds: a group that is gone was lost with its position.
func (g *membership) join(ctx context.Context) error {
	if g.joined {
		return nil
	}
	ctx, cancel := g.bounded(ctx)
	defer cancel()
	err := g.clients.Ops.XGroupCreateMkStream(ctx, g.stream, g.group, "0").Err()
	switch {
	case resp.IsError(err, "BUSYGROUP"):
	case isOutOfMemory(err):
		g.joined = true // nothing can be made, but if it is there it can be read
		return nil
	case err != nil:
		return fmt.Errorf("create group: %w", err)
	case g.before:
		g.metrics.recreated.Inc()
		g.log.Warn("the group was gone and has been made again; entries and positions may have been lost", "group", g.group)
	default:
		g.log.Info("group created", "group", g.group)
	}
	g.joined, g.before = true, true
	return nil
}

// observe notes whether err says that the group is gone.
func (g *membership) observe(err error) {
	if isGroupGone(err) {
		g.joined = false
	}
}

// leave deregisters the consumer, if it owns nothing.
func (g *membership) leave(ctx context.Context) {
	ctx, cancel := g.bounded(ctx)
	defer cancel()
	if _, err := removeConsumers(ctx, g.clients.Ops, g.stream, g.group, g.name, 0); err != nil {
		g.log.Warn("leaving the group failed", "error", err)
	}
}
