package publisher

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"strconv"
	"strings"
	"time"
)

// maxEntry is the detectors' default limit of an entry, in bytes.
const maxEntry = 256 << 10

// An Event is one audit event. Its attributes have OpenTelemetry's names; docs/reference/events.md lists those that
// detection knows.
type Event struct {
	// Type is the event_type, such as "auth.login.failed".
	Type string
	// ID is the producer's own ID of the event, which counts once under it however often it is published.
	// Empty: one is made.
	ID string
	// Time is when it happened; zero: when it is published.
	Time time.Time
	// TraceParent is the W3C trace context, where there is one.
	TraceParent string
	// Attributes are anything that encoding/json can write. The names event_type, event_id,
	// timestamp and traceparent are those of the fields above.
	Attributes map[string]any

	queued time.Time
}

// encode writes the event as the plain JSON object of the stream contract.
func (e *Event) encode() ([]byte, error) {
	if strings.TrimSpace(e.Type) == "" {
		return nil, fmt.Errorf("encode event: no type: %w", ErrInvalid)
	}
	members := make(map[string]any, len(e.Attributes)+4)
	maps.Copy(members, e.Attributes)
	members["event_type"], members["event_id"], members["timestamp"] = e.Type, e.ID, e.Time.UnixNano()
	delete(members, "traceparent")
	if e.TraceParent != "" {
		members["traceparent"] = e.TraceParent
	}
	raw, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w: %w", e.Type, ErrInvalid, err)
	}
	if raw = withoutNUL(raw); len(raw)+len("event") > maxEntry {
		return nil, fmt.Errorf("encode event %s: %d bytes: %w", e.Type, len(raw), ErrInvalid)
	}
	return raw, nil
}

// withoutNUL replaces NULs within JSON text by the replacement character. An event that has one is a
// dead letter, and a client could escape detection by a %00 in its path.
func withoutNUL(raw []byte) []byte {
	escaped := []byte(`\u0000`)
	if !bytes.Contains(raw, escaped) {
		return raw
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(raw[i:], escaped) {
			copy(raw[i:], `\ufffd`)
		}
		i++ // what is escaped may be a backslash
	}
	return raw
}

// stream returns the one of streams that the event goes to.
func (e *Event) stream(streams []string) string {
	if len(streams) == 1 {
		return streams[0]
	}
	key, ok := e.Attributes["source.address"].(string)
	if !ok {
		key = e.ID
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))                    // never fails
	return streams[h.Sum32()%uint32(len(streams))] //nolint:gosec // a handful
}

// ids makes event IDs: a random prefix and a count.
type ids struct {
	prefix string
	n      uint64 // the last one; of the Publisher's goroutine alone
}

func newIDs() *ids { return &ids{prefix: rand.Text()[:20] + "-"} }

func (s *ids) next() string {
	s.n++
	return s.prefix + strconv.FormatUint(s.n, 36)
}
