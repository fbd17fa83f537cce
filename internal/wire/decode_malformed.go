package wire

// The classes of malformed entries: a bounded set, fit for a metric's label.
const (
	BadID         = "bad_id"
	BadAttributes = "bad_attributes"
	Duplicate     = "duplicate"
	Empty         = "empty"
	NoEventType   = "no_event_type"
	NotJSON       = "not_json"
	NotObject     = "not_object"
	NotUTF8       = "not_utf8"
	NUL           = "nul"
	Oversized     = "oversized"
	TooDeep       = "too_deep"
	TooMany       = "too_many_attributes"
)

// Malformed says why an entry can't be decoded, whoever delivers it how often.
type Malformed struct {
	// Class is one of the constants above.
	Class string
	// Reason is a sentence for whoever reads the dead letter. It holds nothing
	// of the entry itself.
	Reason string
}

// Error returns class and reason.
func (m *Malformed) Error() string { return m.Class + ": " + m.Reason }

func malformed(class, reason string) error { return &Malformed{Class: class, Reason: reason} }
