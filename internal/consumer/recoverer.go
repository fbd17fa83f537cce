package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
)

// A recoverer reads the backlog: what is pending for this consumer and not in memory.
type recoverer struct {
	*member
	fetcher  *fetcher
	backlog  *backlog
	dead     *deadLetterer
	maxReply int // bytes
}

// next returns the next page of the consumer's own pending entries, some of which may be in flight.
func (r *recoverer) next(ctx context.Context) ([]Entry, error) {
	if r.backlog.after == "" {
		r.backlog.after = firstID
	}
	alone := r.fetcher.page.entries == 1
	page, err := r.fetcher.fetch(ctx, readRequest{after: r.backlog.after, limit: r.maxReply})
	if alone && errors.Is(err, resp.ErrTooLarge) {
		return nil, r.deadLetterUnreadable(ctx)
	}
	if err != nil {
		return nil, err
	}
	if len(page) == 0 {
		r.backlog.clear()
		return nil, nil
	}
	r.backlog.advance(page[len(page)-1].ID, len(page))
	r.metrics.delivered.Add(float64(len(page)))
	return page, nil
}

// deadLetterUnreadable makes a dead letter, without fields, of the next entry to be recovered,
// which is too large to be read even alone.
func (r *recoverer) deadLetterUnreadable(ctx context.Context) error {
	next, err := r.pendingAfter(ctx, r.backlog.after)
	if err != nil {
		return fmt.Errorf("find unreadable entry: %w", err)
	}
	if len(next) == 0 {
		return nil // another consumer has it by now
	}
	it := &item{Entry: Entry{Stream: r.stream, ID: next[0].ID, Deliveries: int(next[0].RetryCount)}}
	it.verdict = Verdict{Status: Dead, Reason: reasonUnreadable}
	r.backlog.after = it.ID
	return r.dead.write(ctx, []*item{it})
}

// pendingAfter returns the first of the consumer's pending entries after an ID.
func (r *recoverer) pendingAfter(ctx context.Context, id string) ([]redis.XPendingExt, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	return r.clients.Ops.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: r.stream, Group: r.group, Consumer: r.name, Start: "(" + id, End: "+", Count: 1,
	}).Result()
}
