package consumer

import (
	"slices"
	"time"
)

// A retry is a batch of items that waits in memory for its next attempt.
type retry struct {
	items    []item
	attempts int // how many there were
	due      time.Time
}

// A retryQueue holds retries until they are due. It is not safe for concurrent use.
type retryQueue struct {
	retries []retry
	items   int // of all retries
}

// add schedules a retry, unless it has no items.
func (q *retryQueue) add(r retry) {
	if len(r.items) > 0 {
		q.retries = append(q.retries, r)
		q.items += len(r.items)
	}
}

// takeDue is [inFlight.takeDue].
func (q *retryQueue) takeDue(now time.Time, limit int) (items []item, attempts int) {
	q.retries = slices.DeleteFunc(q.retries, func(r retry) bool {
		if r.due.After(now) || len(items) > 0 && len(items)+len(r.items) > limit {
			return false
		}
		items, attempts = append(items, r.items...), max(attempts, r.attempts)
		return true
	})
	q.items -= len(items)
	return items, attempts
}

// nextDue returns when the first retry is due.
func (q *retryQueue) nextDue() (due time.Time, ok bool) {
	for _, r := range q.retries {
		if !ok || r.due.Before(due) {
			due, ok = r.due, true
		}
	}
	return due, ok
}

// appendIDs appends the IDs of all items.
func (q *retryQueue) appendIDs(ids []string) []string {
	for _, r := range q.retries {
		for i := range r.items {
			ids = append(ids, r.items[i].ID)
		}
	}
	return ids
}
