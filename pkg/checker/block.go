package checker

import "time"

// A Block denies the requests of one scope. It says why, by which rule and until when.
type Block struct {
	// ID is the enforcement.id of the decision that created the block; empty for a block written
	// by other software.
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

// Permanent reports whether the block has no expiry.
func (b Block) Permanent() bool { return b.ExpiresAt.IsZero() }

// ActiveAt reports whether the block denies at now. ExpiresAt itself is included, as with a key's
// expiry in Redis.
func (b Block) ActiveAt(now time.Time) bool {
	return b.Permanent() || !now.After(b.ExpiresAt)
}

// Stronger reports whether b lasts longer than other. A permanent block is stronger than a
// temporary one, and a later expiry than an earlier one.
func (b Block) Stronger(other Block) bool {
	if b.Permanent() || other.Permanent() {
		return b.Permanent() && !other.Permanent()
	}
	return b.ExpiresAt.After(other.ExpiresAt)
}
