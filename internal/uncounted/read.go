package uncounted

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// Read returns what the workers of these consumer names could not use within a day, added up,
// most frequent first: one GET each. What an unknown version wrote is left out.
func Read(ctx context.Context, client redis.UniversalClient, prefix string, consumers []string) ([]Tally, error) {
	keys, sums := rediskey.Keys{Prefix: prefix}, map[kind]*Tally{}
	for _, consumer := range consumers {
		raw, err := client.Get(ctx, keys.Uncounted(consumer)).Bytes()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read uncounted events: %w", err)
		}
		var list []Tally
		if json.Unmarshal(raw, &list) != nil {
			continue
		}
		for _, t := range list {
			k := kind{t.EventType, t.Rule, t.Reason}
			sum, ok := sums[k]
			if !ok {
				sums[k] = &t
				continue
			}
			sum.Count += t.Count
			if t.Last.After(sum.Last) {
				sum.Stream, sum.ID, sum.Last = t.Stream, t.ID, t.Last
			}
		}
	}
	out := make([]Tally, 0, len(sums))
	for _, sum := range sums {
		out = append(out, *sum)
	}
	sortTallies(out)
	return out, nil
}
