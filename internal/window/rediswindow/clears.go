package rediswindow

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
)

// A clearQuery asks for the newest clears of some tags of one window.
type clearQuery struct {
	tags  []uint64
	at    *redis.FloatSliceCmd // of each tag; 0 where there is none
	floor *redis.ZSliceCmd     // the oldest clear of a full set; empty if it isn't full
}

// ask sends the query for tags, which may be none; O(tags).
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

// askFloor asks up to when clears may have been forgotten; O(log n).
func (q *clearQuery) askFloor(ctx context.Context, p redis.Pipeliner, key string, limit int) {
	q.floor = p.ZRangeWithScores(ctx, key, int64(-limit), int64(-limit))
}

// into adds the answers to known.
func (q *clearQuery) into(known *window.Clears) {
	if q.at != nil {
		for i, at := range q.at.Val() {
			known.Set(q.tags[i], int64(at))
		}
	}
	if q.floor != nil {
		for _, oldest := range q.floor.Val() {
			known.Floor = int64(oldest.Score)
		}
	}
}

func (q *clearQuery) err() error {
	if q.at != nil && q.at.Err() != nil && !errors.Is(q.at.Err(), redis.Nil) {
		return q.at.Err()
	}
	if q.floor != nil && q.floor.Err() != nil && !errors.Is(q.floor.Err(), redis.Nil) {
		return q.floor.Err()
	}
	return nil
}

// tagMember is a tag as a member of the sorted set.
func tagMember(tag uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], tag)
	return string(b[:])
}
