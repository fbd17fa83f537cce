package consumer

import (
	"slices"
	"sync"
	"time"
)

// An item is an entry in hand and what is known of it.
type item struct {
	Entry

	verdict   Verdict // Status Pending until it is decided
	concluded bool    // its verdict has been carried out
	failures  int     // how often Handle left it pending without an error
	marked    bool    // its mark as a suspect is set
}

// itemsOf makes items of entries that were delivered.
func itemsOf(entries []Entry) []item {
	items := make([]item, len(entries))
	for i, e := range entries {
		items[i].Entry = e
	}
	return items
}

// A batch waits in memory for its next attempt.
type batch struct {
	items   []item
	attempt int // how many there were
	due     time.Time
}

// A hand is what a loop holds: the items it is handling and those that wait. The
// loop's goroutine changes it; the heartbeat's reads it.
type hand struct {
	mu      sync.Mutex
	current []item
	waiting []batch
	held    int // items in waiting
}

// take notes what is being handled.
func (h *hand) take(items []item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = items
}

// wait puts b away until it is due and ends the handling of what was taken.
func (h *hand) wait(b batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = nil
	if len(b.items) == 0 {
		return
	}
	h.waiting = append(h.waiting, b)
	h.held += len(b.items)
}

// due takes out what is due at now, at most limit items if batches are no larger,
// merged, and how many attempts the most tried of them has had.
func (h *hand) due(now time.Time, limit int) (items []item, attempt int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = slices.DeleteFunc(h.waiting, func(b batch) bool {
		if b.due.After(now) || len(items) > 0 && len(items)+len(b.items) > limit {
			return false
		}
		items, attempt = append(items, b.items...), max(attempt, b.attempt)
		return true
	})
	h.held -= len(items)
	return items, attempt
}

// next returns when the first waiting batch is due.
func (h *hand) next() (due time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.waiting {
		if !ok || b.due.Before(due) {
			due, ok = b.due, true
		}
	}
	return due, ok
}

// size returns how many items wait.
func (h *hand) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// ids returns the IDs of all items in hand.
func (h *hand) ids() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := make([]string, 0, len(h.current)+h.held)
	for i := range h.current {
		ids = append(ids, h.current[i].ID)
	}
	for _, b := range h.waiting {
		for i := range b.items {
			ids = append(ids, b.items[i].ID)
		}
	}
	return ids
}

// without returns the entries that are not in hand.
func (h *hand) without(entries []Entry) []Entry {
	ids := h.ids()
	if len(ids) == 0 {
		return entries
	}
	known := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		known[id] = struct{}{}
	}
	return slices.DeleteFunc(entries, func(e Entry) bool {
		_, ok := known[e.ID]
		return ok
	})
}
