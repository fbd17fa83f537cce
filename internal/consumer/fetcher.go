package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/resp"
)

const (
	firstID = "0-0"
	unread  = ">"

	// maxReplyBytes is the most that one reply may be that brings entries again: one
	// of them may have ended the process that read it, by its size. It is above the
	// largest limit of an entry that can be configured.
	maxReplyBytes = 20 << 20
)

// A fetcher reads a page of the stream for its consumer.
type fetcher struct {
	*member
	page *pageSize
}

// A readRequest says what to read.
type readRequest struct {
	after    string        // an ID, for the consumer's own pending entries after that; or unread
	block    time.Duration // how long to wait for entries
	overtime time.Duration // how much longer than usual the reply may take
	limit    int           // bytes of the reply; 0 is none
}

// fetch reads entries. The deadline ends a read whose reply never comes.
func (f *fetcher) fetch(ctx context.Context, what readRequest) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, what.block+f.timeout+what.overtime)
	defer cancel()
	args := []any{"XREADGROUP", "GROUP", f.group, f.name, "COUNT", f.page.entries}
	if what.block >= time.Millisecond { // BLOCK 0 would wait for ever
		args = append(args, "BLOCK", what.block.Milliseconds())
	}
	args = append(args, "STREAMS", f.stream, what.after)
	raw, err := resp.Fetch(ctx, f.clients.Read, f.stream, what.limit, args...)
	if errors.Is(err, resp.ErrTooLarge) {
		f.page.shrink()
	}
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	entries, err := resp.ReadGroup(raw)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	f.page.adapt(len(raw), len(entries))
	return entriesOf(f.stream, entries), nil
}

// entriesOf returns the entries of a reply as those of a stream.
func entriesOf(stream string, read []resp.Entry) []Entry {
	entries := make([]Entry, len(read))
	for i, e := range read {
		entries[i] = Entry{Stream: stream, ID: e.ID, Fields: e.Fields}
	}
	return entries
}
