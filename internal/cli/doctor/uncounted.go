package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/uncounted"
)

const (
	uncountedCheck = "uncounted events"
	// shownUncounted is how many kinds are shown, the most frequent first.
	shownUncounted = 5
)

// uncounted looks at what the workers of the group could not use.
func (x *examination) uncounted(ctx context.Context) bool {
	found, err := uncounted.Read(ctx, x.stores.Clients.Ops, x.cfg.KeyPrefix, x.consumers(ctx))
	if err != nil {
		if !denied(err) { // which is found already
			x.unknown(uncountedCheck, x.cfg.KeyPrefix, err)
		}
		return true
	}
	if len(found) == 0 {
		x.ok(uncountedCheck, "none: rules could use every event of the last day")
		return true
	}
	for _, u := range found[:min(len(found), shownUncounted)] {
		x.uncountedKind(u)
	}
	if rest := len(found) - shownUncounted; rest > 0 {
		x.ok(uncountedCheck, "%s more; wardstream_events_uncounted_total has all", count(rest, "kind"))
	}
	return true
}

func (x *examination) uncountedKind(u uncounted.Tally) {
	look := fmt.Sprintf("; XRANGE %s %s %s shows the latest", u.Stream, u.ID, u.ID)
	if u.Reason == rules.NoRule {
		x.ok(uncountedCheck, "%d × %s: no rule asks for this type%s", u.Count, u.EventType, look)
		return
	}
	x.add(uncountedCheck, Warn, uncountedAdvice(u.Reason)+look, "%d × %s: %s can't use them (%s)", u.Count, u.EventType, u.Rule, u.Reason)
}

// uncountedAdvice says what to do about events that a rule can't use.
func uncountedAdvice(reason rules.Reason) string {
	switch reason {
	case rules.NoScope:
		return "publish the client's address as source.address"
	case rules.BadAddress:
		return "publish one address in source.address, without a list, quotes or a name"
	case rules.MissingAttribute:
		return "publish the attributes that docs/reference/rules.md names for the rule"
	case rules.WrongShape:
		return "publish the attributes of the rule in the form that docs/reference/events.md gives"
	case rules.NoRule:
	}
	return "list a rule for it, or stop publishing it"
}

// consumers returns the names of the group's consumers on all streams, and the configured one.
func (x *examination) consumers(ctx context.Context) []string {
	names := []string{x.cfg.Stream.Consumer}
	for _, stream := range x.cfg.Stream.Names {
		// A stream or group that isn't there yet is said to be so by streams.
		found, _ := x.stores.Clients.Ops.XInfoConsumers(ctx, stream, x.cfg.Stream.Group).Result()
		for _, c := range found {
			if !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	return names
}
