package soak

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// compare waits until all is done, and compares counts with what was published.
func (s *soak) compare() {
	var found []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); wait(100 * time.Millisecond) {
		if found = s.differences(); len(found) == 0 {
			return
		}
	}
	for _, text := range found {
		s.wrong("%s", text)
	}
}

// differences says what isn't as it must be.
func (s *soak) differences() (found []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	differ := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if err := s.readOnce(); err != nil {
		differ("read enforcement events: %v", err)
	}
	totals := map[string]float64{}
	for _, p := range s.workers {
		values, err := p.Metrics()
		if err != nil {
			differ("%v", err)
		}
		for name, v := range values {
			totals[name] += v
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	between := func(what string, got, low, more int) {
		if got < low || got > low+more {
			differ("%s: %d, want %d to %d", what, got, low, low+more)
		}
	}
	published := int(s.published.Load())
	between("entries acked", int(acked(totals)), published, 0)
	between("entries lost", int(totals["wardstream_entries_lost_total"]), 0, 0)
	between("dead letters", int(totals["wardstream_dead_letters_total"]), s.acted[garbled], 0)
	between("enforcement events lost", int(totals["wardstream_events_dropped_total"]), 0, 0)
	groups, err := s.redis.Client.XInfoGroups(ctx, stream).Result()
	if err != nil || len(groups) != 1 {
		differ("groups: %v, %v", groups, err)
	} else {
		between("entries read", int(groups[0].EntriesRead), published, 0)
		between("entries pending", int(groups[0].Pending), 0, 0)
	}
	for rule, k := range map[string]kind{guessRule: guesser, scanRule: scanner} {
		between("blocks published by "+rule, s.emitted.blocks[rule], s.acted[k]-s.unsure[k], s.unsure[k])
	}
	between("blocks published by "+changeRule, s.emitted.blocks[changeRule], 2*s.acted[changer], 0)
	between("alerts by "+crawlRule, s.emitted.alerts[crawlRule], s.acted[crawler]-s.unsure[crawler], s.unsure[crawler])
	between("rules published", len(s.emitted.blocks)+len(s.emitted.alerts), 4, 0)
	s.permanentDiffers(ctx, differ)
	if err := s.strangers(ctx, differ); err != nil {
		differ("%v", err)
	}
	return found
}

// permanentDiffers compares users blocked for good, in Postgres and in its copy, with those who
// must be. s.mu is held.
func (s *soak) permanentDiffers(ctx context.Context, differ func(string, ...any)) {
	var want []string
	for _, a := range s.permanent {
		want = append(want, "user:"+a.name, "session:"+a.session)
	}
	slices.Sort(want)
	var rows []string
	row := s.postgres.Pool.QueryRow(ctx, `SELECT array_agg(scope_type || ':' || scope_value) FROM permanent_blocks WHERE revoked_at IS NULL`)
	if err := row.Scan(&rows); err != nil {
		differ("ask Postgres: %v", err)
	}
	slices.Sort(rows)
	if !slices.Equal(rows, want) {
		differ("Postgres has %v blocked for good, want %v", rows, want)
	}
	hash, err := s.redis.Client.HGetAll(ctx, "ws:blocks:permanent").Result()
	delete(hash, "complete")
	if fields := slices.Sorted(maps.Keys(hash)); err != nil || !slices.Equal(fields, want) {
		differ("the membership hash has %v blocked for good (%v), want %v", fields, err, want)
	}
}

// strangers looks for blocks of those who did nothing.
func (s *soak) strangers(ctx context.Context, differ func(string, ...any)) error {
	keys := s.redis.Client.Scan(ctx, 0, "ws:block:*", 1000).Iterator()
	for keys.Next(ctx) {
		scope := strings.TrimPrefix(keys.Val(), "ws:block:")
		known := slices.ContainsFunc([]string{"user:u", "session:s", "ip:" + octet(guesser), "ip:" + octet(scanner)}, func(head string) bool {
			return strings.HasPrefix(scope, head)
		})
		if !known {
			differ("%s is blocked", scope)
		}
	}
	return keys.Err()
}

// octet is what the addresses of a kind begin with.
func octet(k kind) string {
	first, _, _ := strings.Cut(address(k, 0), ".")
	return first + "."
}
