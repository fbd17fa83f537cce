package deadletter

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/resp"
)

// A Queue administers the dead letters of one stream. It is safe for concurrent use.
type Queue struct {
	client       redis.UniversalClient
	stream, dead string
}

// NewQueue returns the dead letters of stream.
func NewQueue(client redis.UniversalClient, stream string) *Queue {
	return &Queue{client: client, stream: stream, dead: rediskey.DeadLetters(stream)}
}

// List returns at most n dead letters, the oldest first, after the one whose ID is after, or from
// the first if that is empty.
func (q *Queue) List(ctx context.Context, after string, n int64) ([]Letter, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	letters, err := q.read(ctx, from, "+", n)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return letters, nil
}

// Len returns how many dead letters there are.
func (q *Queue) Len(ctx context.Context) (int64, error) {
	n, err := q.client.XLen(ctx, q.dead).Result()
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

// Purge deletes dead letters by their IDs and returns how many were there.
func (q *Queue) Purge(ctx context.Context, ids ...string) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	n, err := q.client.XDel(ctx, q.dead, ids...).Result()
	if err != nil {
		return 0, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, nil
}

// PurgeAll deletes all dead letters and returns how many there were.
func (q *Queue) PurgeAll(ctx context.Context) (int64, error) {
	n, err := q.client.XTrimMaxLen(ctx, q.dead, 0).Result()
	if err != nil {
		return 0, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, nil
}

// read reads a range.
func (q *Queue) read(ctx context.Context, from, to string, n int64) ([]Letter, error) {
	raw, err := resp.Fetch(ctx, q.client, q.dead, 0, "XRANGE", q.dead, from, to, "COUNT", n)
	if err != nil {
		return nil, err
	}
	entries, err := resp.Range(raw)
	if err != nil {
		return nil, err
	}
	letters := make([]Letter, len(entries))
	for i, e := range entries {
		letters[i] = decode(e)
	}
	return letters, nil
}
