package soak

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// beat is how often the publisher publishes.
const beat = 10 * time.Millisecond

// publish publishes rate events a second until ctx ends, and then what the actors that have begun
// still have. It never makes up for more than a second that it was late: a pool's turn would be
// shorter than it must be.
func (s *soak) publish(ctx context.Context, crowd *crowd) error {
	var crew []*actor // those that are acting
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	last, due := time.Now(), 0.0
	for ctx.Err() == nil || len(crew) > 0 {
		now := <-ticks.C
		due = min(due+now.Sub(last).Seconds()*float64(s.rate), float64(s.rate))
		last = now
		for ctx.Err() == nil && len(crew) < max(s.rate/10, 8) {
			crew = append(crew, crowd.draw())
		}
		n := int(due)
		due -= float64(n)
		for n > 0 && len(crew) > 0 {
			some := make([]*actor, min(n, 500))
			for i := range some {
				some[i] = crew[crowd.random.IntN(len(crew))]
			}
			n -= len(some)
			var err error
			if crew, err = s.send(some, crew); err != nil {
				return err
			}
		}
	}
	close(s.attacks)
	return nil
}

// send publishes the next event of each of some, which may be the same, and returns those of the
// crew that aren't done.
func (s *soak) send(some, crew []*actor) ([]*actor, error) {
	pipe := s.redis.Client.Pipeline()
	type reply struct {
		of *actor
		id *redis.StringCmd
	}
	var replies []reply
	now := time.Now()
	for _, a := range some {
		if len(a.left) > 0 {
			replies = append(replies, reply{a, pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: stream, Values: a.left[0]})})
			a.left, a.sent = a.left[1:], now
		}
	}
	if _, err := pipe.Exec(context.Background()); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	s.published.Add(int64(len(replies)))
	for _, r := range replies {
		digits, _, _ := strings.Cut(r.id.Val(), "-")
		ms, _ := strconv.ParseInt(digits, 10, 64)
		if r.of.last = time.UnixMilli(ms); r.of.first.IsZero() {
			r.of.first = r.of.last
		}
	}
	acting := crew[:0]
	for _, a := range crew {
		if len(a.left) > 0 {
			acting = append(acting, a)
			continue
		}
		s.done(a)
	}
	return acting, nil
}

// done notes what must come of an actor that has published all it had.
func (s *soak) done(a *actor) {
	s.mu.Lock()
	s.acted[a.kind]++
	unsure := a.last.Sub(a.first) >= s.window // the machine stood still meanwhile
	if unsure {
		s.unsure[a.kind]++
	}
	s.mu.Unlock()
	if !unsure && (a.kind == guesser || a.kind == scanner || a.kind == changer) {
		s.attacks <- a
	}
}
