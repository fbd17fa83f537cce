package consumer

import (
	"slices"
	"sync"
	"time"
)

// An item is an entry in flight and what is known of it.
type item struct {
	Entry

	verdict  Verdict // Status Pending until it is decided
	settled  bool    // its verdict has been carried out
	failures int     // how often Handle left it pending without an error
	marked   bool    // its marker as a poison candidate is set
}

// itemsOf makes items of entries that were delivered.
func itemsOf(entries []Entry) []item {
	items := make([]item, len(entries))
	for i, e := range entries {
		items[i].Entry = e
	}
	return items
}

// pointers returns pointers to the items.
func pointers(items []item) []*item {
	p := make([]*item, len(items))
	for i := range items {
		p[i] = &items[i]
	}
	return p
}

// An inFlight holds the entries of a read loop: those that are being handled and those that wait
// for their next attempt. The read loop changes it; the heartbeater reads it.
type inFlight struct {
	mu      sync.Mutex
	current []item
	retries retryQueue
}

// begin notes what is being handled.
func (f *inFlight) begin(items []item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = items
}

// finish ends the handling of what begin noted and schedules a retry of what is left of it.
func (f *inFlight) finish(r retry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = nil
	f.retries.add(r)
}

// takeDue takes out the retries that are due at now, at most limit items unless one retry has more,
// and how many attempts the most tried of them has had.
func (f *inFlight) takeDue(now time.Time, limit int) (items []item, attempts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.retries.takeDue(now, limit)
}

// nextDue returns when the first retry is due.
func (f *inFlight) nextDue() (due time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.retries.nextDue()
}

// waiting returns how many items wait for a retry.
func (f *inFlight) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.retries.items
}

// ids returns the IDs of all items.
func (f *inFlight) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]string, 0, len(f.current)+f.retries.items)
	for i := range f.current {
		ids = append(ids, f.current[i].ID)
	}
	return f.retries.appendIDs(ids)
}

// exclude returns the entries that are not in flight.
func (f *inFlight) exclude(entries []Entry) []Entry {
	ids := f.ids()
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
