package consumer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
)

// DeadLetters administers the dead letters of one stream. It is safe for concurrent use.
type DeadLetters struct {
	client       redis.UniversalClient
	stream, dead string
}

// NewDeadLetters returns the dead letters of stream, whose dead-letter stream's name
// ends in suffix ([DefaultDeadSuffix] if it is empty).
func NewDeadLetters(client redis.UniversalClient, stream, suffix string) *DeadLetters {
	setDefault(&suffix, DefaultDeadSuffix)
	return &DeadLetters{client: client, stream: stream, dead: stream + suffix}
}

// A DeadLetter is one of them.
type DeadLetter struct {
	ID         string    // in the dead-letter stream
	Stream     string    // where the entry came from
	EntryID    string    // its ID there
	Reason     string    // why it could not be handled
	Deliveries int       // how often it was delivered
	At         time.Time // when it became a dead letter
	Fields     []string  // the entry's, names and values in turn
}

// List returns at most n dead letters, the oldest first, after the one whose ID is
// after, or from the first if that is empty.
func (d *DeadLetters) List(ctx context.Context, after string, n int64) ([]DeadLetter, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	entries, err := d.entries(ctx, from, "+", n)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	letters := make([]DeadLetter, len(entries))
	for i, e := range entries {
		letters[i] = letterOf(e)
	}
	return letters, nil
}

// Len returns how many there are.
func (d *DeadLetters) Len(ctx context.Context) (int64, error) {
	n, err := d.client.XLen(ctx, d.dead).Result()
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

// Purge deletes dead letters by their IDs and returns how many were there.
func (d *DeadLetters) Purge(ctx context.Context, ids ...string) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	n, err := d.client.XDel(ctx, d.dead, ids...).Result()
	if err != nil {
		return 0, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, nil
}

// PurgeAll deletes all dead letters and returns how many there were.
func (d *DeadLetters) PurgeAll(ctx context.Context) (int64, error) {
	n, err := d.client.XTrimMaxLen(ctx, d.dead, 0).Result()
	if err != nil {
		return 0, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, nil
}

// entries reads a range. It goes round go-redis's XRange, which makes maps of
// fields and loses their order and those with one name.
func (d *DeadLetters) entries(ctx context.Context, from, to string, n int64) ([]Entry, error) {
	raw, err := resp.Fetch(ctx, d.client, d.dead, 0, "XRANGE", d.dead, from, to, "COUNT", n)
	if err != nil {
		return nil, err
	}
	entries, err := resp.Range(raw)
	return entriesOf(d.dead, entries), err
}

// letterOf reads a dead letter. What somebody else put into the stream has nothing
// but its ID and fields.
func letterOf(e Entry) DeadLetter {
	letter := DeadLetter{ID: e.ID, Fields: ownFields(e.Fields)}
	for own := e.Fields[len(letter.Fields):]; len(own) > 1; own = own[2:] {
		switch value := own[1]; own[0] {
		case fieldReason:
			letter.Reason = value
		case fieldDeliveries:
			letter.Deliveries, _ = strconv.Atoi(value) // we wrote it
		case fieldID:
			letter.EntryID = value
		case fieldStream:
			letter.Stream = value
		case fieldAt:
			letter.At, _ = time.Parse(time.RFC3339Nano, value) // we wrote it
		}
	}
	return letter
}

// ownFields returns the fields without those that made it a dead letter, which are
// the last: a producer's own fields of such names stay.
func ownFields(fields []string) []string {
	cut := len(fields) - 2*deadFields
	if cut >= 0 && fields[cut] == fieldReason && fields[cut+2*deadFields-2] == fieldAt {
		return fields[:cut]
	}
	return fields
}
