package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// check compares the world with the oracle and returns what differs. What takes its time (a
// reconciler, a sink) may differ for a while.
func (w *world) check(ctx context.Context) []string {
	if text := w.unsettled(ctx); text != "" {
		return []string{"the group isn't done: " + text}
	}
	var found findings
	for _, invariant := range []func(context.Context, *findings) error{
		w.checkWindows, w.checkBlocks, w.checkPermanent, w.checkAnnounced, w.checkDead, w.checkKeys, w.checkLost, w.checkLag, w.checkOwners, w.checkGrowth,
	} {
		if err := invariant(ctx, &found); err != nil {
			found.add("%v", err)
		}
	}
	return found
}

type findings []string

func (f *findings) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// checkWindows: each window holds the members that were published, each once, and the events of one
// client are not spread over windows of two versions unless two were at work.
func (w *world) checkWindows(ctx context.Context, found *findings) error {
	w.mu.Lock()
	versions, current := w.versions, w.current
	w.mu.Unlock()
	for _, rule := range []string{lostRule, errorRule} {
		windows, err := w.windows(ctx, rule)
		if err != nil {
			return err
		}
		for name, s := range w.oracle.scopes {
			if s.rule != rule {
				continue
			}
			addr := strings.TrimPrefix(name, "ip:")
			found.windowsAre(name, s, windows[addr])
			switch {
			case s.mixed:
				s.observe(windows[addr], versions, current)
			case rule == errorRule:
				found.versionIs(name, s.threshold, windows[addr], versions)
			}
			delete(windows, addr)
		}
		for addr, sizes := range windows {
			if total(sizes) > 0 {
				found.add("a window of %s for %s, of whom nothing is known, holds %v", rule, addr, sizes)
			}
		}
	}
	return nil
}

// windowsAre looks at the windows of one scope.
func (f *findings) windowsAre(name string, s *scope, sizes map[string]int) {
	low, high := s.bounds()
	for hash, n := range sizes {
		if n > high {
			f.add("window %s of %s for %s holds %d, want at most %d", hash, s.rule, name, n, high)
		}
	}
	switch n := total(sizes); {
	case n < low:
		f.add("the window of %s for %s holds %d, want %d to %d", s.rule, name, n, low, high)
	case len(sizes) > 1 && !s.mixed:
		f.add("%s has two windows of %s, though one version was at work: %v", name, s.rule, sizes)
	}
}

// versionIs looks whether windows are of the version that was at work, which its threshold shows.
func (f *findings) versionIs(name string, threshold int, sizes map[string]int, versions [2]version) {
	for hash, n := range sizes {
		if v := versionOf(hash, versions); n > 0 && versions[v].errorAt != threshold {
			f.add("%s is counted in a window of %s, which wasn't at work", name, versions[v].number)
		}
	}
}

func total(sizes map[string]int) (n int) {
	for _, size := range sizes {
		n += size
	}
	return n
}

// checkBlocks: every scope that must be blocked for a while is, until when it must be, and no
// other.
func (w *world) checkBlocks(ctx context.Context, found *findings) error {
	blocks, err := w.blocks(ctx)
	if err != nil {
		return err
	}
	for name, s := range w.oracle.scopes {
		b, there := blocks[name]
		delete(blocks, name)
		switch {
		case s.unblocked && there:
			found.add("%s is blocked, though an operator unblocked it", name)
		case s.unblocked:
		case s.must && !there && s.uncopied:
		case s.must && !there:
			found.add("%s isn't blocked in Redis", name)
		case there && !s.may:
			found.add("%s is blocked", name)
		case there:
			found.blockIs(name, s, b)
		}
	}
	for name := range blocks {
		found.add("%s is blocked, of whom nothing is known", name)
	}
	return nil
}

func (f *findings) blockIs(name string, s *scope, b block) {
	const tolerance = time.Second
	switch {
	case s.rule == "" && b.ExpiresAt != nil:
		f.add("%s is blocked until %s, want for good", name, b.ExpiresAt)
	case s.rule == "":
	case b.Rule != s.rule:
		f.add("%s is blocked by %s, want %s", name, b.Rule, s.rule)
	case b.ExpiresAt == nil:
		f.add("%s is blocked for good", name)
	default:
		low, high := s.expiry()
		if b.ExpiresAt.After(high.Add(tolerance)) || !s.uncertain() && b.ExpiresAt.Before(low.Add(-tolerance)) {
			f.add("%s is blocked until %s, want %s to %s", name, b.ExpiresAt, low, high)
		}
	}
}

// checkPermanent: Postgres has whom it must, and Redis' copies say the same.
func (w *world) checkPermanent(ctx context.Context, found *findings) error {
	rows, hash, complete, err := w.permanent(ctx)
	if err != nil {
		return err
	}
	if !complete || !slices.Equal(rows, hash) {
		found.add("Postgres has %d permanent blocks, the membership hash %d, complete: %t; not in the hash %v, only there %v",
			len(rows), len(hash), complete, without(rows, hash), without(hash, rows))
	}
	for name, s := range w.oracle.scopes {
		_, there := slices.BinarySearch(rows, name)
		switch {
		case s.rule != "":
		case there && (s.unblocked || !s.may):
			found.add("%s is in Postgres", name)
		case !there && s.must && !s.unblocked:
			found.add("%s isn't in Postgres", name)
		}
	}
	for _, name := range rows {
		if w.oracle.scopes[name] == nil {
			found.add("%s is in Postgres, of whom nothing is known", name)
		}
	}
	return nil
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool {
		_, ok := slices.BinarySearch(b, s)
		return ok
	})
}

// checkAnnounced: each block was published as one event, however often, and nothing else was.
func (w *world) checkAnnounced(ctx context.Context, found *findings) error {
	if err := w.readTold(ctx); err != nil {
		return err
	}
	for name, s := range w.oracle.scopes {
		ids := w.seen.ids[name]
		switch {
		case len(ids) > 0 && !s.may:
			found.add("block_applied for %s, which must not be blocked", name)
		case len(ids) > 1 && !s.twice:
			found.add("the block of %s was published as %d events: %v", name, len(ids), ids)
		case len(ids) == 0 && s.must && !s.announced && !s.unsure:
			found.add("no event for the block of %s", name)
		case len(ids) > 0:
			s.announced = true
		}
	}
	for name := range w.seen.ids {
		if w.oracle.scopes[name] == nil {
			found.add("block_applied for %s, which is unknown", name)
		}
	}
	return nil
}

// checkDead: the dead letters are the poisoned entries, each once.
func (w *world) checkDead(ctx context.Context, found *findings) error {
	letters, err := w.dead(ctx)
	if err != nil {
		return err
	}
	for id, p := range w.oracle.poison {
		entries := letters[id]
		delete(letters, id)
		distinct := slices.Compact(slices.Sorted(slices.Values(entries)))
		switch {
		case len(entries) == 0 && p.sure:
			found.add("%s is not a dead letter", id)
		case len(distinct) > p.attempts:
			found.add("%s was published %d times and is %d dead letters", id, p.attempts, len(distinct))
		case len(distinct) < len(entries) && !w.oracle.replay:
			found.add("an entry of %s is a dead letter twice: %v", id, entries)
		}
	}
	for id := range letters {
		found.add("%s is a dead letter and wasn't poisoned", id)
	}
	return nil
}

// checkKeys: only streams are kept for ever.
func (w *world) checkKeys(ctx context.Context, found *findings) error {
	keys, err := w.eternal(ctx)
	if len(keys) > 0 {
		found.add("keys without a TTL: %v", keys)
	}
	return err
}

// checkOwners: consumers without a worker own nothing. Workers that have ended leave consumers,
// which stay for an hour where they were not stopped.
func (w *world) checkOwners(ctx context.Context, found *findings) error {
	consumers, err := w.client().XInfoConsumers(ctx, stream, group).Result()
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, d := range w.running() {
		alive[d.name] = true
	}
	for _, c := range consumers {
		name, _, _ := strings.Cut(c.Name, "-") // the loop's index comes behind
		if c.Pending > 0 && !alive[name] {
			found.add("%s owns %d entries, and no worker is called that", c.Name, c.Pending)
		}
	}
	return nil
}

// Bounds of what a worker has once it has nothing to do; an idle one has about a third.
const (
	maxGoroutines  = 80
	maxFiles       = 60
	maxMemory      = 160 << 20 // resident; an idle one has 35 MB
	maxConnections = 100       // of all workers and the harness, with Redis
)

// checkGrowth: workers are well, and hold no more than they need.
func (w *world) checkGrowth(ctx context.Context, found *findings) error {
	for _, d := range w.running() {
		m, err := d.Metrics()
		if err != nil {
			return err
		}
		w.peak.note(m)
		if n := m["go_goroutines"]; n > maxGoroutines {
			found.add("%s has %v goroutines", d.name, n)
		}
		if n := m["process_open_fds"]; n > maxFiles {
			found.add("%s has %v open files", d.name, n)
		}
		if n := m["process_resident_memory_bytes"]; n > maxMemory {
			found.add("%s has %.0f MB in memory", d.name, n/(1<<20))
		}
		if n := m["wardstream_entries_waiting"]; n != 0 {
			found.add("%s has %v entries waiting", d.name, n)
		}
	}
	clients, err := w.client().ClientList(ctx).Result()
	if n := strings.Count(clients, "\n"); n > maxConnections {
		found.add("Redis has %d connections", n)
	}
	return err
}

// peak is the most that was seen of one worker.
type peak struct{ goroutines, files, memory, shed float64 }

func (p *peak) note(m map[string]float64) {
	p.goroutines, p.files = max(p.goroutines, m["go_goroutines"]), max(p.files, m["process_open_fds"])
	p.memory = max(p.memory, m["process_resident_memory_bytes"])
	p.shed = max(p.shed, m[`wardstream_events_skipped_total{reason="shed"}`])
}
