package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
)

// Names of the fields that a dead letter has besides those of its entry, which come
// before them.
const (
	fieldReason     = "dead.reason"
	fieldDeliveries = "dead.deliveries"
	fieldID         = "dead.id"
	fieldStream     = "dead.stream"
	fieldAt         = "dead.at"

	deadFields = 5
)

const (
	maxReason  = 200  // bytes of a reason
	scriptArgs = 4000 // Lua unpacks at most 8,000 values
	buryChunk  = 64   // dead letters a round trip
)

// buryScript moves an entry to the dead-letter stream, unless it is no longer
// pending. It is acked last, so that a refused XADD (no memory, wrong type) loses nothing.
//
//	KEYS: the stream, its dead-letter stream
//	ARGV: group, entry ID, about how many dead letters to keep, then names and values
//	Result: the dead letter's ID; nil if the entry isn't pending
//	Cost: O(log n) of the pending list, plus the entry's size
var buryScript = redis.NewScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
	return false
end
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return id
`)

// bury makes dead letters of items, many in one round trip, since whoever sends
// garbage sends much of it.
func (l *loop) bury(ctx context.Context, items []*item) error {
	var errs []error
	for chunk := range slices.Chunk(items, buryChunk) {
		if err := l.buryChunk(ctx, chunk); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (l *loop) buryChunk(ctx context.Context, items []*item) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	err := l.buryPipelined(ctx, items)
	if resp.IsError(err, "NOSCRIPT") {
		if err := buryScript.Load(ctx, l.Clients.Ops).Err(); err != nil {
			return fmt.Errorf("load script: %w", err)
		}
		err = l.buryPipelined(ctx, items)
	}
	return err
}

// buryPipelined sends what isn't concluded and returns the first error.
func (l *loop) buryPipelined(ctx context.Context, items []*item) error {
	pipe := l.Clients.Ops.Pipeline()
	cmds := make([]*redis.Cmd, len(items))
	for i, it := range items {
		if !it.concluded {
			cmds[i] = l.queueBurial(ctx, pipe, it)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var first error
	for i, it := range items {
		if cmds[i] == nil {
			continue
		}
		err := cmds[i].Err()
		if err == nil && l.separate(it) {
			err = l.ack(ctx, []string{it.ID})
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			first = cmpErr(first, err)
			continue
		}
		it.concluded = true
		if err == nil {
			l.buried(it)
		}
	}
	return first
}

func cmpErr(first, err error) error {
	if first != nil {
		return first
	}
	return fmt.Errorf("write dead letter: %w", err)
}

func (l *loop) queueBurial(ctx context.Context, pipe redis.Pipeliner, it *item) *redis.Cmd {
	var args []any
	if l.separate(it) {
		args = append(args, "XADD", l.dead, "MAXLEN", "~", l.DeadMaxLen, "*")
	} else {
		args = append(args, "EVALSHA", buryScript.Hash(), 2, l.stream, l.dead, l.Group, it.ID, l.DeadMaxLen)
	}
	for _, s := range l.deadLetter(it) {
		args = append(args, s)
	}
	return pipe.Do(ctx, args...)
}

// separate says whether the dead letter is added first and the entry acked then:
// in a Cluster the two streams may be on two nodes, and a script takes only so many
// arguments. A crash in between makes a second dead letter, which does no harm.
func (l *loop) separate(it *item) bool {
	_, cluster := l.Clients.Ops.(*redis.ClusterClient)
	return cluster || len(it.Fields) > scriptArgs
}

func (l *loop) deadLetter(it *item) []string {
	reason := it.verdict.Reason
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	fields, size := slices.Clip(it.Fields), 0
	for _, text := range fields {
		size += len(text)
	}
	if size > l.replyBytes { // too large to be sent about; the entry is in its stream as long as that is kept
		fields = nil
	}
	return append(fields,
		fieldReason, reason, fieldDeliveries, strconv.Itoa(it.Deliveries), fieldID, it.ID,
		fieldStream, l.stream, fieldAt, l.Now().UTC().Format(time.RFC3339Nano))
}

func (l *loop) buried(it *item) {
	l.metrics.deadLetter(it.verdict.Reason)
	l.log.Warn("entry became a dead letter", "id", it.ID, "reason", it.verdict.Reason, "deliveries", it.Deliveries)
}
