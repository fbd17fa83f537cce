package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/cli/display"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/deadletter"
	"github.com/wardstream/wardstream/internal/rediskey"
)

const (
	streamCheck = "stream"
	deadCheck   = "dead letters"

	// activeWithin is how long ago a consumer that is at work asked last; a read waits a second.
	activeWithin = time.Minute
	// farBehind is how many unread entries are worth a warning.
	farBehind = 100_000
)

// streams looks at the streams that are read, their groups and dead letters, and at the one
// that is written.
func (x *examination) streams(ctx context.Context) bool {
	for _, name := range x.cfg.Stream.Names {
		if info := x.stream(ctx, name, "nothing was published to it yet"); info != nil {
			x.group(ctx, name)
			x.ahead(ctx, name, info.LastGeneratedID)
		}
		x.deadLetters(ctx, name)
	}
	if name := x.cfg.Events.Stream; name != "" && !denied(x.stores.Clients.Ops.XInfoStream(ctx, name).Err()) { // which the worker only writes
		x.stream(ctx, name, "no enforcement event was emitted yet")
	}
	return true
}

// denied says whether the user may not ask.
func denied(err error) bool { return redis.HasErrorPrefix(err, "NOPERM") }

// stream returns what Redis knows of a stream, or nil, having said so, if the key is none.
func (x *examination) stream(ctx context.Context, name, none string) *redis.XInfoStream {
	info, err := x.stores.Clients.Ops.XInfoStream(ctx, name).Result()
	switch {
	case err == nil:
		return info
	case redis.HasErrorPrefix(err, "no such key"):
		x.ok(streamCheck, "%s: %s", name, none)
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		x.add(streamCheck, Fail, "name another, or delete that key", "%s is a key of another type", name)
	default:
		x.unknown(streamCheck, name, err)
	}
	return nil
}

// ahead says so if the last entry has an ID of the future: Redis gives every later entry that time,
// until it has come.
func (x *examination) ahead(ctx context.Context, stream, last string) {
	milli, _, _ := strings.Cut(last, "-")
	ms, err := strconv.ParseInt(milli, 10, 64)
	now, unknown := x.stores.Clients.Ops.Time(ctx).Result()
	if err != nil || unknown != nil {
		return // what isn't known of the clock is said there
	}
	if by := time.UnixMilli(ms).Sub(now).Round(time.Second); by > maxSkew {
		x.add(streamCheck, Warn, "once the group has 0 unread and 0 pending, RENAME the stream: docs/how-to/operations.md",
			"%s: its last ID is %s in the future, and so will be those of all events until then", stream, display.Duration(by))
	}
}

// unknown is the finding that something can't be found out; where access is denied that is found
// already.
func (x *examination) unknown(check, name string, err error) {
	x.add(check, Warn, "fix that and run detector check again", "%s: %v", name, err)
}

// group looks at how far the group is and whether any consumer reads for it.
func (x *examination) group(ctx context.Context, stream string) {
	groups, err := x.stores.Clients.Ops.XInfoGroups(ctx, stream).Result()
	if err != nil {
		x.unknown(streamCheck, stream, err)
		return
	}
	for _, g := range groups {
		if g.Name == x.cfg.Stream.Group {
			x.progress(ctx, stream, g)
			return
		}
	}
	x.ok(streamCheck, "%s: the group %s isn't there yet; the first detector makes it and reads from the start", stream, x.cfg.Stream.Group)
}

func (x *examination) progress(ctx context.Context, stream string, g redis.XInfoGroup) {
	consumers, err := x.stores.Clients.Ops.XInfoConsumers(ctx, stream, g.Name).Result()
	if err != nil {
		x.unknown(streamCheck, stream, err)
		return
	}
	active := 0
	for _, c := range consumers {
		if c.Idle < activeWithin {
			active++
		}
	}
	unread, ok, err := consumer.MeasureLag(ctx, x.stores.Clients.Ops, x.cfg.KeyPrefix, stream, g.Name)
	if err != nil || !ok {
		x.unknown(streamCheck, stream, err)
		return
	}
	lag := fmt.Sprint(unread.Unread)
	if !unread.Exact {
		lag = "about " + lag
	}
	found := fmt.Sprintf("%s: group %s has %s unread, %d pending, %d of %d consumers active", stream, g.Name, lag, g.Pending, active, len(consumers))
	if ago, ok := consumer.LastSeen(ctx, x.stores.Clients.Ops, x.cfg.KeyPrefix, stream, g.Name); active == 0 && len(consumers) > 0 && ok && ago < activeWithin {
		active = 1 // Redis before 7.2 takes a consumer for idle that waits for entries
		found = fmt.Sprintf("%s: group %s has %s unread, %d pending, %d consumers, at work %s ago", stream, g.Name, lag, g.Pending, len(consumers), ago.Round(time.Second))
	}
	switch {
	case active == 0 && (unread.Unread != 0 || g.Pending > 0):
		x.add(streamCheck, Warn, "start a detector; entries wait for it", "%s", found)
	case unread.Unread > farBehind:
		x.add(streamCheck, Warn, "start more detectors, if the lag doesn't go down by itself", "%s", found)
	default:
		x.ok(streamCheck, "%s", found)
	}
}

func (x *examination) deadLetters(ctx context.Context, stream string) {
	n, err := deadletter.NewQueue(x.stores.Clients.Ops, stream).Len(ctx)
	switch {
	case denied(err): // the worker needn't count them
	case err != nil:
		x.unknown(deadCheck, rediskey.DeadLetters(stream), err)
	case n > 0:
		x.add(deadCheck, Warn, "detector dead-letters list shows them", "%s has %d", stream, n)
	default:
		x.ok(deadCheck, "%s has none", stream)
	}
}
