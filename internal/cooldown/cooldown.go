// Package cooldown limits alerts to one per rule, group and cooldown, across workers, matches and
// redeliveries.
package cooldown

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// A Marker records that the alert ID of Rule about Group was emitted.
type Marker struct {
	Rule  string
	Group string
	ID    string
	TTL   time.Duration // the cooldown
}

// A Gate keeps markers in Redis. It is safe for concurrent use.
type Gate struct {
	client redis.UniversalClient
	keys   rediskey.Keys
	now    func() time.Time

	mu   sync.Mutex
	held map[string]held
}

// held is a marker that is known to be in Redis, so that it need not be read again.
type held struct {
	id    string
	until time.Time
}

// maxHeld bounds the markers in memory; beyond it they are forgotten and read again.
const maxHeld = 10_000

// New returns a gate whose keys start with prefix.
func New(client redis.UniversalClient, prefix string, now func() time.Time) *Gate {
	return &Gate{client: client, keys: rediskey.Keys{Prefix: prefix}, now: now, held: map[string]held{}}
}

// Begin sets the markers that are not set yet, in one round trip, and reports for each whether its
// alert is due: the marker did not exist, or exists for the same alert, as at a redelivery.
func (g *Gate) Begin(ctx context.Context, markers []Marker) ([]bool, error) {
	due := make([]bool, len(markers))
	asked := g.ask(markers, due)
	if len(asked) == 0 {
		return due, nil
	}
	set, replies := make([]*redis.BoolCmd, len(asked)), make([]*redis.StringCmd, len(asked))
	_, err := g.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, at := range asked {
			m := markers[at]
			key := g.keys.Cooldown(m.Rule, m.Group)
			set[i] = p.SetNX(ctx, key, m.ID, max(m.TTL, time.Millisecond))
			replies[i] = p.Get(ctx, key)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("begin cooldowns: %w", err)
	}
	for i, at := range asked {
		id, err := replies[i].Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("begin cooldowns: %w", err)
		}
		// A marker that has already expired was too short to suppress anything.
		due[at] = id == markers[at].ID || errors.Is(err, redis.Nil)
		if set[i].Val() {
			g.remember(markers[at])
		}
	}
	return due, nil
}

// ask returns the markers that must be read from Redis, and sets due for the others.
func (g *Gate) ask(markers []Marker, due []bool) []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	var asked []int
	for i, m := range markers {
		known, ok := g.held[g.keys.Cooldown(m.Rule, m.Group)]
		if !ok || !now.Before(known.until) {
			asked = append(asked, i)
			continue
		}
		due[i] = known.id == m.ID
	}
	return asked
}

// remember keeps a marker that was just set, for less time than Redis keeps it. A marker that
// already existed, even of the same alert, expires earlier.
func (g *Gate) remember(m Marker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.held) >= maxHeld {
		clear(g.held)
	}
	g.held[g.keys.Cooldown(m.Rule, m.Group)] = held{id: m.ID, until: g.now().Add(m.TTL * 9 / 10)}
}
