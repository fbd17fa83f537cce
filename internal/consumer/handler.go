package consumer

import "context"

// An Entry is one entry of a stream, as Redis delivered it.
type Entry struct {
	Stream string
	ID     string
	// Fields alternate names and values, as in the entry.
	Fields []string
	// Deliveries is how often the entry was delivered, this time included; 1 for a first
	// delivery.
	Deliveries int
	// Tried says that a handler may have been given the entry before, here or
	// elsewhere, so that its effects may be there in part.
	Tried bool
}

// A Status says what becomes of an entry. The zero value is the safe one.
type Status uint8

const (
	// Pending: its effects are not all there; the entry is not acked and is delivered again.
	Pending Status = iota
	// Done: all its effects are there; the entry is acked.
	Done
	// Dead: it can never be handled; it goes to the dead-letter stream with Reason, then is acked.
	Dead
)

// A Verdict is the outcome for one entry.
type Verdict struct {
	Status Status
	Reason string // of Dead: short, bounded, no secrets
}

// A Handler takes a batch of entries of one stream and returns one Verdict for each, in order.
//
// An error means that infrastructure failed (Redis, Postgres): the entries with Status Pending are
// tried again later, and that never counts against them. An entry left Pending without an error has
// failed by itself: after Options.MaxDeliveries times it becomes a dead letter. An entry that
// causes a panic becomes one at once, and no other does.
//
// ctx is cancelled if the process can wait no longer. Handle is called by Options.Loops goroutines
// for each stream. What must happen in the stream's order waits for the batch's turn and passes it
// on afterwards; all else runs concurrently with other batches.
type Handler interface {
	Handle(ctx context.Context, turn *Turn, batch []Entry) ([]Verdict, error)
}
