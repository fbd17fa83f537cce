package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
)

const (
	firstID = "0-0"
	unread  = ">"

	// readBytes is about how much one reply should be at most; where entries
	// are large, fewer are asked for.
	readBytes = 8 << 20

	// replyBytes is the most that one reply may be that brings entries again: one
	// of them may have ended the process that read it, by its size. It is above the
	// largest limit of an entry that can be configured.
	replyBytes = 20 << 20
)

// join makes the group where it isn't there, from the start of what the stream
// holds: a group that is gone was lost with its position.
func (l *loop) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	err := l.Clients.Ops.XGroupCreateMkStream(ctx, l.stream, l.Group, "0").Err()
	switch {
	case resp.IsError(err, "BUSYGROUP"):
	case isOutOfRoom(err):
		l.joined = true // nothing can be made, but if it is there it can be read
		return nil
	case err != nil:
		return fmt.Errorf("create group: %w", err)
	case l.wasJoined:
		l.metrics.recreated.Inc()
		l.log.Warn("the group was gone and has been made again; entries and positions may have been lost", "group", l.Group)
	default:
		l.log.Info("group created", "group", l.Group)
	}
	l.joined, l.wasJoined = true, true
	return nil
}

// read reads new entries and handles them in their turn. It waits for some, or for another loop to
// have read, unless there is something else to do.
func (l *loop) read(ctx context.Context) error {
	if !l.sequence.begin(ctx, max(l.idleTime(), time.Millisecond)) {
		l.ready.Store(true) // another loop reads, and says how that goes
		return nil
	}
	entries, err := l.fetchNew(ctx)
	turn := l.sequence.end()
	if err != nil {
		turn.Pass()
		return err
	}
	l.ready.Store(true)
	for i := range entries {
		entries[i].Deliveries = 1
	}
	l.metrics.delivered.Add(float64(len(entries)))
	l.process(ctx, turn, itemsOf(entries), 0)
	return nil
}

func (l *loop) fetchNew(ctx context.Context) ([]Entry, error) {
	if l.behind() {
		return l.fetchBehind(ctx)
	}
	entries, err := l.fetchBlocking(ctx)
	l.late = l.isLate(entries)
	return entries, err
}

// drain handles one page of what is pending for this consumer but isn't in its
// hand: left by a process of the same name, lost with a reply, or put off for lack of room.
func (l *loop) drain(ctx context.Context) error {
	if l.drained == "" {
		l.drained = firstID
	}
	alone := l.count == 1
	page, err := l.fetch(ctx, l.drained, 0)
	if alone && errors.Is(err, resp.ErrTooLarge) {
		return l.deadLetterUnreadable(ctx)
	}
	if err != nil {
		return err
	}
	l.ready.Store(true) // Redis lets us read, however long the next read takes
	if len(page) == 0 {
		l.owed, l.drained = 0, ""
		return nil
	}
	l.drained = page[len(page)-1].ID
	l.owed = max(l.owed-len(page), 1)
	l.metrics.delivered.Add(float64(len(page)))
	if err := l.redeliver(ctx, l.inFlight.exclude(page)); err != nil {
		return err
	}
	if !l.roomy() {
		l.drained = "" // the rest when there is room again, from the start
	}
	return nil
}

// redeliver handles entries that were delivered before. Those that have been
// trimmed since are lost.
func (l *loop) redeliver(ctx context.Context, entries []Entry) error {
	there := entries[:0:0]
	var trimmed []string
	for _, e := range entries {
		if e.Fields == nil {
			trimmed = append(trimmed, e.ID)
		} else {
			e.Tried = true
			there = append(there, e)
		}
	}
	if err := l.lose(ctx, trimmed, true); err != nil {
		return err
	}
	if err := l.countDeliveries(ctx, there); err != nil {
		return err
	}
	l.process(ctx, nil, itemsOf(there), 0)
	return nil
}

// lose takes note of entries that were trimmed while pending. Those that are
// pending still are acked first, and counted by whoever's ack took, so that they are counted once.
func (l *loop) lose(ctx context.Context, ids []string, pending bool) error {
	if len(ids) == 0 {
		return nil
	}
	lost := int64(len(ids))
	if pending {
		ctx, cancel := context.WithTimeout(ctx, l.Timeout)
		defer cancel()
		var err error
		if lost, err = l.Clients.Ops.XAck(ctx, l.stream, l.Group, ids...).Result(); err != nil {
			return fmt.Errorf("ack trimmed entries: %w", err)
		}
	}
	if lost > 0 {
		l.metrics.lostPending.Add(float64(lost))
		l.log.Warn("entries were trimmed from the stream while pending and are lost", "entries", lost, "first_id", ids[0])
	}
	return nil
}

// countDeliveries sets how often entries were delivered: one XPENDING each, in one
// round trip, O(log n) each. An entry that isn't pending any more counts as one.
func (l *loop) countDeliveries(ctx context.Context, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	pipe := l.Clients.Ops.Pipeline()
	counts := make([]*redis.XPendingExtCmd, len(entries))
	for i, e := range entries {
		counts[i] = pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: l.stream, Group: l.Group, Start: e.ID, End: e.ID, Count: 1})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("count deliveries: %w", err)
	}
	for i := range entries {
		entries[i].Deliveries = 1
		if found := counts[i].Val(); len(found) == 1 {
			entries[i].Deliveries = int(found[0].RetryCount)
		}
	}
	return nil
}

// fetch reads at most l.count entries after the ID from, or new ones, and waits
// for those up to block. The deadline ends a read whose reply never comes.
func (l *loop) fetch(ctx context.Context, from string, block time.Duration) ([]Entry, error) {
	limit, patience := l.replyBytes, l.Timeout
	if from == unread {
		limit, patience = 0, patience+l.sequence.pace.overtime
	}
	ctx, cancel := context.WithTimeout(ctx, block+patience)
	defer cancel()
	args := []any{"XREADGROUP", "GROUP", l.Group, l.name, "COUNT", l.count}
	if block >= time.Millisecond { // BLOCK 0 would wait for ever
		args = append(args, "BLOCK", block.Milliseconds())
	}
	args = append(args, "STREAMS", l.stream, from)
	raw, err := resp.Fetch(ctx, l.Clients.Read, l.stream, limit, args...)
	if errors.Is(err, resp.ErrTooLarge) {
		l.count = 1
	}
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	entries, err := resp.ReadGroup(raw)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	l.adapt(len(raw), len(entries))
	return entriesOf(l.stream, entries), nil
}

// entriesOf returns the entries of a reply as those of a stream.
func entriesOf(stream string, read []resp.Entry) []Entry {
	entries := make([]Entry, len(read))
	for i, e := range read {
		entries[i] = Entry{Stream: stream, ID: e.ID, Fields: e.Fields}
	}
	return entries
}

// adapt chooses how many entries to ask for next time.
func (l *loop) adapt(bytes, entries int) {
	if entries > 0 {
		l.count = min(l.BatchSize, 2*l.count, max(readBytes/max(bytes/entries, 1), 1))
	}
}

// isGroupGone says whether err means that the group or the stream is gone.
// UNBLOCKED comes to those that waited when the stream was deleted.
func isGroupGone(err error) bool {
	return resp.IsError(err, "NOGROUP") || resp.IsError(err, "UNBLOCKED")
}
