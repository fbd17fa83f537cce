package deadletter

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/resp"
)

// writeChunk is how many dead letters are written in one round trip: a client that sends malformed
// entries sends many of them.
const writeChunk = 64

//go:embed scripts/write.lua
var writeSource string

var writeScript = redislua.New(writeSource)

// A Writer moves pending entries of one stream's group to the dead-letter stream. It is safe for
// concurrent use.
type Writer struct {
	Client  redis.UniversalClient
	Stream  string
	Group   string
	MaxLen  int64         // about how many dead letters are kept, the newest
	MaxSize int           // bytes of an entry's fields; those of a larger one are left out
	Timeout time.Duration // of a round trip
}

// An Outcome says what became of an entry that was to be a dead letter.
type Outcome uint8

const (
	// Unwritten: the entry is pending still.
	Unwritten Outcome = iota
	// Written: it is a dead letter, and acked.
	Written
	// Gone: it was no longer pending, and no dead letter was written.
	Gone
)

// Write makes dead letters of entries and acks them, and returns the outcome for each, in order. A
// letter needs no ID and no Stream. The error says why some are [Unwritten].
func (w *Writer) Write(ctx context.Context, letters []Letter) ([]Outcome, error) {
	outcomes := make([]Outcome, 0, len(letters))
	var errs []error
	for chunk := range slices.Chunk(letters, writeChunk) {
		written, err := w.writeChunk(ctx, chunk)
		if err != nil {
			errs = append(errs, fmt.Errorf("write dead letter: %w", err))
		}
		outcomes = append(outcomes, written...)
	}
	return outcomes, errors.Join(errs...)
}

// writeChunk writes letters in one pipeline, and loads the script itself where redislua would: what
// became of each letter counts even if others fail.
func (w *Writer) writeChunk(ctx context.Context, letters []Letter) ([]Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	outcomes := make([]Outcome, len(letters))
	err := w.writePipelined(ctx, letters, outcomes)
	if resp.IsError(err, "NOSCRIPT") {
		if err := writeScript.Load(ctx, w.Client); err != nil {
			return outcomes, err
		}
		err = w.writePipelined(ctx, letters, outcomes)
	}
	return outcomes, err
}

// writePipelined writes those that are unwritten, notes their outcomes and returns the first error.
func (w *Writer) writePipelined(ctx context.Context, letters []Letter, outcomes []Outcome) error {
	pipe := w.Client.Pipeline()
	cmds := make([]*redis.Cmd, len(letters))
	for i, letter := range letters {
		if outcomes[i] == Unwritten {
			cmds[i] = w.queue(ctx, pipe, letter)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var first error
	for i, letter := range letters {
		if cmds[i] == nil {
			continue
		}
		err := cmds[i].Err()
		if err == nil && w.separate(letter) {
			err = w.Client.XAck(ctx, w.Stream, w.Group, letter.EntryID).Err()
		}
		switch {
		case err == nil:
			outcomes[i] = Written
		case errors.Is(err, redis.Nil):
			outcomes[i] = Gone
		case first == nil:
			first = err
		}
	}
	return first
}

func (w *Writer) queue(ctx context.Context, pipe redis.Pipeliner, letter Letter) *redis.Cmd {
	var args []any
	dead := rediskey.DeadLetters(w.Stream)
	if w.separate(letter) {
		args = append(args, "XADD", dead, "MAXLEN", "~", w.MaxLen, "*")
	} else {
		args = append(args, "EVALSHA", writeScript.Hash(), 2, w.Stream, dead, w.Group, letter.EntryID, w.MaxLen)
	}
	letter.Stream = w.Stream
	for _, text := range letter.encode(w.MaxSize) {
		args = append(args, text)
	}
	return pipe.Do(ctx, args...)
}

// separate says whether the dead letter is added first and the entry acked then: in a Cluster the
// two streams may be on two nodes, and a script takes only so many arguments. A crash in between
// makes a second dead letter, which does no harm.
func (w *Writer) separate(letter Letter) bool {
	_, cluster := w.Client.(*redis.ClusterClient)
	return cluster || len(letter.Fields) > maxScriptFields
}
