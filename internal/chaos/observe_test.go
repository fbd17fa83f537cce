package chaos

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// This file reads what came of it all, from the stores themselves and by no code of Wardstream's.

// scan returns the keys that match, and what they hold if they are strings.
func (w *world) scan(ctx context.Context, pattern string) (map[string]string, error) {
	out := map[string]string{}
	keys, err := w.client().Keys(ctx, pattern).Result()
	for chunk := range slices.Chunk(keys, 500) {
		if err != nil {
			break
		}
		var values []any
		values, err = w.client().MGet(ctx, chunk...).Result()
		for i, v := range values {
			if text, ok := v.(string); ok {
				out[chunk[i]] = text
			}
		}
	}
	return out, err
}

// windows returns how many members each window of a rule holds, by address and by the hash of the
// rule's parameters.
func (w *world) windows(ctx context.Context, rule string) (map[string]map[string]int, error) {
	head := prefix + ":window:" + rule + ":"
	logs, err := w.scan(ctx, head+"*")
	out := map[string]map[string]int{}
	for key, log := range logs {
		hash, addr, _ := strings.Cut(strings.TrimPrefix(key, head), ":")
		n, err := members(log)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if out[addr] == nil {
			out[addr] = map[string]int{}
		}
		out[addr][hash] = n
	}
	return out, err
}

// members counts what a window's log comes to: records of 22 bytes, the time in ms in the first
// six, then the tag, then the member, or 2⁶⁴-1 if the record clears members of the tag up to its
// time. One of time 0 is the marker that a compaction left.
func members(log string) (int, error) {
	const size = 22
	if len(log)%size != 0 {
		return 0, fmt.Errorf("a log of %d bytes", len(log))
	}
	type record struct{ at, tag, member uint64 }
	first, clears := map[uint64]record{}, []record(nil)
	for i := 0; i < len(log); i += size {
		raw := []byte(log[i : i+size])
		r := record{binary.BigEndian.Uint64(append([]byte{0, 0}, raw[:6]...)), binary.BigEndian.Uint64(raw[6:]), binary.BigEndian.Uint64(raw[14:])}
		switch known, ok := first[r.member]; {
		case r.at == 0:
		case r.member == ^uint64(0):
			clears = append(clears, r)
		case !ok || r.at < known.at:
			first[r.member] = r
		}
	}
	n := 0
	for _, m := range first {
		if !slices.ContainsFunc(clears, func(c record) bool { return c.at >= m.at && (c.tag == m.tag || c.tag == 0 && c.at > 0) }) {
			n++
		}
	}
	return n, nil
}

// A block is what a block key holds.
type block struct {
	ScopeType  string     `json:"scope_type"`
	ScopeValue string     `json:"scope_value"`
	Rule       string     `json:"rule_name"`
	ExpiresAt  *time.Time `json:"expires_at"`
}

// blocks returns the blocks in Redis by scope.
func (w *world) blocks(ctx context.Context) (map[string]block, error) {
	values, err := w.scan(ctx, prefix+":block:*")
	out := map[string]block{}
	for key, text := range values {
		var b block
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		scope := b.ScopeType + ":" + b.ScopeValue
		if key != prefix+":block:"+scope {
			return nil, fmt.Errorf("%s holds a block of %s", key, scope)
		}
		out[scope] = b
	}
	return out, err
}

// permanent returns the scopes of the active rows, and those in the membership hash.
func (w *world) permanent(ctx context.Context) (rows, hash []string, complete bool, err error) {
	found, err := w.postgres.Pool.Query(ctx, "SELECT scope_type || ':' || scope_value FROM permanent_blocks WHERE revoked_at IS NULL")
	if err != nil {
		return nil, nil, false, err
	}
	defer found.Close()
	for found.Next() {
		var scope string
		if err := found.Scan(&scope); err != nil {
			return nil, nil, false, err
		}
		rows = append(rows, scope)
	}
	fields, err := w.client().HKeys(ctx, prefix+":blocks:permanent").Result()
	for _, f := range fields {
		if f == "complete" {
			complete = true
		} else {
			hash = append(hash, f)
		}
	}
	slices.Sort(rows)
	slices.Sort(hash)
	return rows, hash, complete, err
}

// seen is what was read of the enforcement events so far.
type seen struct {
	cursor string
	ids    map[string][]string // of block_applied, by scope, each once
}

func newSeen() seen { return seen{cursor: "0", ids: map[string][]string{}} }

// readTold reads the enforcement events that have come.
func (w *world) readTold(ctx context.Context) error {
	entries, err := w.client().XRange(ctx, enforcement, "("+w.seen.cursor, "+").Result()
	for _, e := range entries {
		var event struct {
			Name       string         `json:"event_name"`
			Attributes map[string]any `json:"attributes"`
		}
		text, _ := e.Values["event"].(string)
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			return fmt.Errorf("enforcement event %s: %w", e.ID, err)
		}
		scope := fmt.Sprint(event.Attributes["scope.type"], ":", event.Attributes["scope.value"])
		id := fmt.Sprint(event.Attributes["enforcement.id"])
		if event.Name == "audit.enforcement.block_applied" && !slices.Contains(w.seen.ids[scope], id) {
			w.seen.ids[scope] = append(w.seen.ids[scope], id)
		}
		w.seen.cursor = e.ID
	}
	return err
}

// dead returns the event_ids of dead letters, with the IDs of the entries that died.
func (w *world) dead(ctx context.Context) (map[string][]string, error) {
	letters, err := w.client().XRange(ctx, deadStream, "-", "+").Result()
	out := map[string][]string{}
	for _, l := range letters {
		id := fmt.Sprint(l.Values["event_id"])
		out[id] = append(out[id], fmt.Sprint(l.Values["dead.id"]))
	}
	return out, err
}

// unsettled says what the group still has to do; "" is nothing.
func (w *world) unsettled(ctx context.Context) string {
	groups, err := w.client().XInfoGroups(ctx, stream).Result()
	if err != nil {
		return err.Error()
	}
	for _, g := range groups {
		if g.Name != group {
			continue
		}
		unread, err := w.client().XRangeN(ctx, stream, "("+g.LastDeliveredID, "+", 1).Result()
		switch {
		case err != nil:
			return err.Error()
		case g.Pending > 0 || len(unread) > 0:
			return fmt.Sprintf("%d entries pending, unread from %v, consumers %s", g.Pending, unread, w.owners(ctx))
		}
		return ""
	}
	return "there is no group"
}

// owners says whose the pending entries are.
func (w *world) owners(ctx context.Context) string {
	pending, err := w.client().XPending(ctx, stream, group).Result()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(pending.Consumers)
}

// eternal returns the keys that have no TTL and are not streams.
func (w *world) eternal(ctx context.Context) ([]string, error) {
	keys, err := w.client().Keys(ctx, "*").Result()
	if err != nil {
		return nil, err
	}
	ttls := make([]*redis.DurationCmd, len(keys))
	_, err = w.client().Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			ttls[i] = p.PTTL(ctx, key)
		}
		return nil
	})
	var out []string
	for i, key := range keys {
		if err == nil && ttls[i].Val() == -1 && key != stream && key != deadStream && key != enforcement {
			out = append(out, key)
		}
	}
	return out, err
}
