package wire

import "errors"

// The classes of malformed entries: a bounded set, fit for a metric's label.
const (
	BadAttributes = "bad_attributes"
	BadID         = "bad_id"
	BadTime       = "bad_time"
	Batch         = "batch"
	Duplicate     = "duplicate"
	Empty         = "empty"
	NoEventType   = "no_event_type"
	NotJSON       = "not_json"
	NotObject     = "not_object"
	Oversized     = "oversized"
)

// Malformed is the error of an entry that cannot be decoded, however often it is delivered.
type Malformed struct {
	// Class is one of the constants above.
	Class string
	// Reason is a sentence for the reader of the dead letter. It holds nothing
	// of the entry itself.
	Reason string
}

// Error returns class and reason.
func (m *Malformed) Error() string { return m.Class + ": " + m.Reason }

func malformed(class, reason string) error { return &Malformed{Class: class, Reason: reason} }

// class returns the class of an error, or "".
func class(err error) string {
	if m := (*Malformed)(nil); errors.As(err, &m) {
		return m.Class
	}
	return ""
}
