package checker

import "time"

// A Block denies one scope: why, by which rule, until when.
type Block struct {
	// ID is the enforcement.id of the decision that began the block; empty for
	// a block written by other software.
	ID         string
	Scope      Scope
	Reason     string
	Rule       string
	StatusCode int    // HTTP status of the denial; 0 means 429
	Message    string // body of the denial, safe to show to the client
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: permanent
	Metadata   map[string]any
}

// Permanent reports whether the block has no end of its own.
func (b Block) Permanent() bool { return b.ExpiresAt.IsZero() }

// ActiveAt reports whether the block still denies at now: up to and including its last
// moment, as Redis keeps a key.
func (b Block) ActiveAt(now time.Time) bool {
	return b.Permanent() || !now.After(b.ExpiresAt)
}

// Stronger reports whether b outlasts other: permanent over temporary, the
// later expiry over the earlier. Equal blocks are not stronger.
func (b Block) Stronger(other Block) bool {
	if b.Permanent() || other.Permanent() {
		return b.Permanent() && !other.Permanent()
	}
	return b.ExpiresAt.After(other.ExpiresAt)
}
