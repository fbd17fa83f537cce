package rediswindow

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
)

// A clearQuery reads the newest clears of some tags of one window.
type clearQuery struct {
	tags []uint64
	at   *redis.FloatSliceCmd // of each tag; 0 where there is none
}

// ask sends the query for tags; O(tags). For none it sends nothing.
func (q *clearQuery) ask(ctx context.Context, p redis.Pipeliner, key string, tags []uint64) {
	if len(tags) == 0 {
		return
	}
	members := make([]string, len(tags))
	for i, tag := range tags {
		members[i] = tagMember(tag)
	}
	q.tags, q.at = tags, p.ZMScore(ctx, key, members...)
}

// into adds the replies to known.
func (q *clearQuery) into(known *window.Clears) {
	if q.at == nil {
		return
	}
	for i, at := range q.at.Val() {
		known.Set(q.tags[i], int64(at))
	}
}

func (q *clearQuery) err() error {
	if q.at != nil && q.at.Err() != nil && !errors.Is(q.at.Err(), redis.Nil) {
		return q.at.Err()
	}
	return nil
}

// tagMember returns a tag as a member of the sorted set.
func tagMember(tag uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], tag)
	return string(b[:])
}
