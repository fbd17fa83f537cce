package rediswindow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/window"
)

const (
	// maxRareTags is how many tags of one spec are remembered. With more, all clears are applied.
	maxRareTags = 4096
	// rareTagsTTL is how much longer than its window a tag is remembered.
	rareTagsTTL = time.Hour
	// rareTagsEvery is how often other workers' tags are read while there are clears of unknown
	// tags.
	rareTagsEvery = 100 * time.Millisecond
	// rareTagsOverlap allows for differences between clocks.
	rareTagsOverlap = time.Minute
)

// RareTags is a window.Store that skips clears without effect: in windows whose Spec has RareTags,
// clears of tags that no member has had in any window of the spec. Workers share the tags in a
// sorted set per spec and learn of each other's new tags within 100 ms. It is safe for concurrent
// use.
type RareTags struct {
	next   window.Store
	client redis.UniversalClient
	keys   rediskey.Keys
	now    func() time.Time

	mu    sync.Mutex
	books map[*window.Spec]*tagBook
}

// A tagBook holds the known tags of one spec's members.
type tagBook struct {
	key   string
	ttl   time.Duration
	seen  map[uint64]time.Time // when the tag was last written to Redis, or read there
	asked time.Time
}

// NewRareTags returns a store that passes the operations that have an effect on to next.
func NewRareTags(next window.Store, client redis.UniversalClient, prefix string, now func() time.Time) *RareTags {
	return &RareTags{next: next, client: client, keys: rediskey.Keys{Prefix: prefix}, now: now, books: map[*window.Spec]*tagBook{}}
}

// Apply implements window.Store. It takes another round trip if a member has a new tag, and at most
// one per 100 ms if clears have unknown tags.
func (s *RareTags) Apply(ctx context.Context, ops []window.Op) ([]window.Count, error) {
	now := s.now()
	if err := s.announce(ctx, ops, now); err != nil {
		return nil, fmt.Errorf("write tags of windows: %w", err)
	}
	kept, at := s.sieve(ops)
	if len(kept) < len(ops) && s.due(ops, now) {
		if err := s.refresh(ctx, now); err != nil {
			return nil, fmt.Errorf("read tags of windows: %w", err)
		}
		kept, at = s.sieve(ops)
	}
	if len(kept) == len(ops) {
		return s.next.Apply(ctx, ops)
	}
	some, err := s.next.Apply(ctx, kept)
	if err != nil {
		return nil, err
	}
	counts := make([]window.Count, len(ops))
	for i, c := range some {
		counts[at[i]] = c
	}
	return counts, nil
}

// announce records the tags of members, and shares with other workers those that are new or were
// last shared long ago: ZADD, ZREMRANGEBYRANK and PEXPIRE, O(log n) each.
func (s *RareTags) announce(ctx context.Context, ops []window.Op, now time.Time) error {
	fresh := s.fresh(ops, now)
	if len(fresh) == 0 {
		return nil
	}
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for book, tags := range fresh {
			for _, tag := range tags {
				p.ZAdd(ctx, book.key, redis.Z{Score: float64(now.UnixMilli()), Member: tagMember(tag)})
			}
			p.ZRemRangeByRank(ctx, book.key, 0, -maxRareTags-2) // one more than is distinguished
			p.PExpire(ctx, book.key, book.ttl)
		}
		return nil
	})
	if err != nil {
		s.forget(fresh)
	}
	return err
}

func (s *RareTags) fresh(ops []window.Op, now time.Time) map[*tagBook][]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh map[*tagBook][]uint64
	for i := range ops {
		op := &ops[i]
		if !op.Spec.RareTags || op.Kind != window.Add || op.Tag == "" {
			continue
		}
		book, tag := s.book(op.Spec), rareTag(op.Tag)
		if reported, ok := book.seen[tag]; ok && now.Sub(reported) < book.ttl/2 || !ok && len(book.seen) > maxRareTags {
			continue
		}
		if fresh == nil {
			fresh = map[*tagBook][]uint64{}
		}
		book.seen[tag] = now
		fresh[book] = append(fresh[book], tag)
	}
	return fresh
}

// forget makes the next announce share the tags again.
func (s *RareTags) forget(fresh map[*tagBook][]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for book, tags := range fresh {
		for _, tag := range tags {
			book.seen[tag] = time.Time{}
		}
	}
}

// sieve returns the operations that have an effect, and their indexes.
func (s *RareTags) sieve(ops []window.Op) (kept []window.Op, at []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := -1
	for i := range ops {
		if s.needless(&ops[i]) {
			if out < 0 { // most batches have none
				out = i
				kept, at = append(make([]window.Op, 0, len(ops)), ops[:i]...), make([]int, i, len(ops))
				for j := range at {
					at[j] = j
				}
			}
			continue
		}
		if out >= 0 {
			kept, at = append(kept, ops[i]), append(at, i)
		}
	}
	if out < 0 {
		return ops, nil
	}
	return kept, at
}

// needless reports whether op is a clear of a tag that no member has had.
func (s *RareTags) needless(op *window.Op) bool {
	if !op.Spec.RareTags || op.Kind != window.Clear || op.Tag == "" {
		return false
	}
	book := s.book(op.Spec)
	if len(book.seen) > maxRareTags { // an attacker who invents tags must not suppress other users' clears
		return false
	}
	_, seen := book.seen[rareTag(op.Tag)]
	return !seen
}

// due reports whether to read other workers' tags of any spec in ops.
func (s *RareTags) due(ops []window.Op, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ops {
		if ops[i].Spec.RareTags && now.Sub(s.book(ops[i].Spec).asked) >= rareTagsEvery {
			return true
		}
	}
	return false
}

// refresh reads the tags that other workers wrote since the last time, and forgets old ones:
// ZRANGE, O(log n + new tags).
func (s *RareTags) refresh(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	books := make([]*tagBook, 0, len(s.books))
	replies := make([]*redis.ZSliceCmd, 0, len(s.books))
	p := s.client.Pipeline()
	for _, book := range s.books {
		from := "-inf"
		if !book.asked.IsZero() {
			from = fmt.Sprint(book.asked.Add(-rareTagsOverlap).UnixMilli())
		}
		book.asked = now // the other loops need not ask as well
		books = append(books, book)
		replies = append(replies, p.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{Key: book.key, Start: from, Stop: "+inf", ByScore: true}))
	}
	s.mu.Unlock()
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, book := range books {
		for _, z := range replies[i].Val() {
			book.learn(z)
		}
		for tag, reported := range book.seen {
			if now.Sub(reported) > book.ttl {
				delete(book.seen, tag)
			}
		}
	}
	return nil
}

func (b *tagBook) learn(z redis.Z) {
	member, ok := z.Member.(string)
	if !ok || len(member) != 8 {
		return
	}
	tag, reported := binary.BigEndian.Uint64([]byte(member)), time.UnixMilli(int64(z.Score))
	if reported.After(b.seen[tag]) {
		b.seen[tag] = reported
	}
}

// book returns the book of a spec. The caller holds the lock.
func (s *RareTags) book(spec *window.Spec) *tagBook {
	book, ok := s.books[spec]
	if !ok {
		book = &tagBook{key: s.keys.WindowTags(spec.ID()), ttl: spec.TTL() + rareTagsTTL, seen: map[uint64]time.Time{}}
		s.books[spec] = book
	}
	return book
}

// rareTag returns a hash of a tag. A collision only costs a needless clear.
func rareTag(tag string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(tag)) // never fails
	return h.Sum64()
}

// Recount implements window.Store.
func (s *RareTags) Recount(ctx context.Context, ops []window.Op) ([]window.Count, error) {
	return s.next.Recount(ctx, ops)
}
