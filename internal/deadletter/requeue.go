package deadletter

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/redislua"
)

// fieldEventID identifies an event to windows that count events. A requeued entry has a new entry
// ID; with the old one as its event ID it still counts once.
const fieldEventID = "event_id"

const requeuePage = 100 // dead letters read at once

//go:embed scripts/requeue.lua
var requeueSource string

var requeueScript = redislua.New(requeueSource)

// Errors of requeueing a dead letter.
var (
	ErrTooManyFields = errors.New("it has too many fields to be anything but a dead letter")
	ErrNoFields      = errors.New("no field would be left")
)

// Requeue puts dead letters back into their stream, as they were, and returns how many. Those that
// are not there are skipped, so requeueing twice is harmless. An entry without an event_id gets its
// old ID as one, so that it cannot be counted twice.
func (q *Queue) Requeue(ctx context.Context, ids ...string) (int, error) {
	return q.requeueIDs(ctx, Edit{}, ids)
}

// RequeueEdited is Requeue of one dead letter, with its fields changed.
func (q *Queue) RequeueEdited(ctx context.Context, id string, e Edit) (int, error) {
	return q.requeueIDs(ctx, e, []string{id})
}

func (q *Queue) requeueIDs(ctx context.Context, edit Edit, ids []string) (int, error) {
	requeued := 0
	for _, id := range ids {
		letters, err := q.read(ctx, id, id, 1)
		if err != nil {
			return requeued, fmt.Errorf("read dead letter %q: %w", id, err)
		}
		n, err := q.requeue(ctx, letters, edit)
		if requeued += n; err != nil {
			return requeued, err
		}
	}
	return requeued, nil
}

// RequeueAll requeues the dead letters that are there when it begins.
func (q *Queue) RequeueAll(ctx context.Context) (int, error) {
	last, err := q.client.XRevRangeN(ctx, q.dead, "+", "-", 1).Result()
	if err != nil {
		return 0, fmt.Errorf("find the last dead letter: %w", err)
	}
	requeued, from := 0, "-"
	for len(last) > 0 {
		page, err := q.read(ctx, from, last[0].ID, requeuePage)
		if err != nil {
			return requeued, fmt.Errorf("read dead letters: %w", err)
		}
		if len(page) == 0 {
			break
		}
		from = "(" + page[len(page)-1].ID
		n, err := q.requeue(ctx, page, Edit{})
		if requeued += n; err != nil {
			return requeued, err
		}
	}
	return requeued, nil
}

func (q *Queue) requeue(ctx context.Context, letters []Letter, edit Edit) (int, error) {
	requeued := 0
	for _, letter := range letters {
		letter.Fields = edit.apply(letter.Fields)
		moved, err := q.move(ctx, letter)
		if err != nil {
			return requeued, fmt.Errorf("requeue dead letter %s: %w", letter.ID, err)
		}
		if moved {
			requeued++
		}
	}
	return requeued, nil
}

// move requeues one dead letter and reports whether it was there.
func (q *Queue) move(ctx context.Context, letter Letter) (bool, error) {
	fields := withEventID(letter)
	switch {
	case len(letter.Fields) == 0:
		return false, ErrNoFields
	case len(fields) > maxScriptFields:
		return false, ErrTooManyFields
	}
	args := make([]any, 0, len(fields)+4)
	args = append(args, letter.ID)
	for _, f := range fields {
		args = append(args, f)
	}
	if _, cluster := q.client.(*redis.ClusterClient); cluster {
		return true, q.moveSeparately(ctx, letter.ID, args[1:])
	}
	err := requeueScript.Run(ctx, q.client, []string{q.dead, q.stream}, args...).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// moveSeparately adds the entry, then deletes the dead letter. It is for a Cluster, where the two
// streams may be on two nodes. A crash in between leaves the dead letter; requeued again, its
// event_id is the same.
func (q *Queue) moveSeparately(ctx context.Context, id string, fields []any) error {
	if err := q.client.XAdd(ctx, &redis.XAddArgs{Stream: q.stream, Values: fields}).Err(); err != nil {
		return err
	}
	return q.client.XDel(ctx, q.dead, id).Err()
}

// withEventID returns the letter's fields with an event_id.
func withEventID(letter Letter) []string {
	fields := letter.Fields
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == fieldEventID {
			return fields
		}
	}
	if letter.EntryID == "" {
		return fields
	}
	return append(fields[:len(fields):len(fields)], fieldEventID, letter.EntryID)
}
