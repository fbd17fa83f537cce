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

// maxEntry is the detectors' default limit for an entry, in bytes.
const maxEntry = 256 << 10

// An Event is one audit event. Attributes use OpenTelemetry's names; docs/reference/events.md lists
// those that the rules evaluate.
type Event struct {
	// Type is the event_type, such as "auth.login.failed".
	Type string
	// ID identifies the event: events with equal IDs count once. Empty means that Publish generates
	// one.
	ID string
	// Time is when the event happened; zero means the time of Publish.
	Time time.Time
	// TraceParent is the W3C trace context, or "".
	TraceParent string
	// Attributes are values that encoding/json can marshal. Do not use the names event_type,
	// event_id, timestamp and traceparent, which the fields above write.
	Attributes map[string]any

	queued time.Time
}

// encode returns the event as the flat JSON object that detectors read.
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

// withoutNUL replaces NUL in JSON strings by U+FFFD. Detectors dead-letter an event with a NUL, so
// a client could otherwise escape detection with %00 in its path.
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
		i++ // the escaped character may be a backslash
	}
	return raw
}

// stream returns which of streams the event is added to.
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

// ids generates event IDs: a random prefix and a counter.
type ids struct {
	prefix string
	n      uint64 // the last one; used by the Publisher's goroutine only
}

func newIDs() *ids { return &ids{prefix: rand.Text()[:20] + "-"} }

func (s *ids) next() string {
	s.n++
	return s.prefix + strconv.FormatUint(s.n, 36)
}
