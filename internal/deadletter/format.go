package deadletter

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/resp"
)

// Names of the fields that a dead letter has besides those of its entry, in their order. They come
// after those of the entry.
const (
	fieldReason     = "dead.reason"
	fieldDeliveries = "dead.deliveries"
	fieldID         = "dead.id"
	fieldStream     = "dead.stream"
	fieldAt         = "dead.at"

	addedFields = 5
)

// MaxReason is how many bytes of a reason are kept.
const MaxReason = 200

// A Letter is one dead letter: an entry and why it could not be handled.
type Letter struct {
	ID         string    // in the dead-letter stream
	Stream     string    // where the entry came from
	EntryID    string    // its ID there
	Reason     string    // why it could not be handled
	Deliveries int       // how often it was delivered
	At         time.Time // when it became a dead letter
	Fields     []string  // the entry's, names and values in turn
}

// encode returns the fields of a letter in the dead-letter stream. The entry's own fields are left
// out if they are larger than maxBytes: the entry is in its stream as long as that is kept.
func (l Letter) encode(maxBytes int) []string {
	reason := l.Reason
	if len(reason) > MaxReason {
		reason = strings.ToValidUTF8(reason[:MaxReason], "")
	}
	fields, size := slices.Clip(l.Fields), 0
	for _, text := range fields {
		size += len(text)
	}
	if size > maxBytes {
		fields = nil
	}
	return append(fields,
		fieldReason, reason, fieldDeliveries, strconv.Itoa(l.Deliveries), fieldID, l.EntryID,
		fieldStream, l.Stream, fieldAt, l.At.UTC().Format(time.RFC3339Nano))
}

// decode reads a letter. What something else put into the dead-letter stream has only its ID and
// fields.
func decode(e resp.Entry) Letter {
	letter := Letter{ID: e.ID, Fields: ownFields(e.Fields)}
	for added := e.Fields[len(letter.Fields):]; len(added) > 1; added = added[2:] {
		switch value := added[1]; added[0] {
		case fieldReason:
			letter.Reason = value
		case fieldDeliveries:
			letter.Deliveries, _ = strconv.Atoi(value) // encode wrote it
		case fieldID:
			letter.EntryID = value
		case fieldStream:
			letter.Stream = value
		case fieldAt:
			letter.At, _ = time.Parse(time.RFC3339Nano, value) // encode wrote it
		}
	}
	return letter
}

// ownFields returns the fields without those that encode added, which are the last: a producer's
// own fields of such names stay.
func ownFields(fields []string) []string {
	cut := len(fields) - 2*addedFields
	if cut >= 0 && fields[cut] == fieldReason && fields[cut+2*addedFields-2] == fieldAt {
		return fields[:cut]
	}
	return fields
}
