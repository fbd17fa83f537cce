package wire

import (
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/event"
)

// lastMilli is the end of the year 9999, past which no time is written.
const lastMilli = 253402300799999

// EntryTime is the time of a stream entry by its ID; ok is false for what is not an ID.
func EntryTime(id string) (at time.Time, ok bool) {
	ms, seq, ok := strings.Cut(id, "-")
	if !ok || !isDigits(ms) || !isDigits(seq) {
		return time.Time{}, false
	}
	if _, err := strconv.ParseUint(seq, 10, 64); err != nil {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || n > lastMilli {
		return time.Time{}, false
	}
	return time.UnixMilli(n).UTC(), true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// timestampNames are the attributes that hold an event's own time, the first that is there.
func timestampNames() []string {
	return []string{"timestamp", "time_unix_nano", "timeUnixNano", "@timestamp", "time", "ts", "event_time", "eventTime", "occurred_at"}
}

// date sets e's time to that of its own timestamp.
func (m *wellKnown) date(e *event.Event) error {
	if m.timestamp == nil || m.timestamp.Any() == "" {
		for _, name := range timestampNames() {
			other, _ := e.Get(name)
			if at, ok := ownTime(other); ok {
				e.Time = at
				return nil
			}
		}
		e.Untimed = true
		return nil
	}
	at, ok := ownTime(m.timestamp.Any())
	if !ok {
		return malformed(BadTime, "the timestamp can't be read: write ISO 8601, or a count since 1970 (event_time is event)")
	}
	e.Time = at
	return nil
}

// ownTime reads an event's own timestamp: a date and time, which is in UTC unless it has an offset,
// or a count since 1970, in nanoseconds by contract; the smaller counts that seconds, milliseconds
// and microseconds make of the years 1973 to 5138 are distinguished by their size.
func ownTime(v any) (time.Time, bool) {
	text, ok := event.Text(v)
	if !ok {
		return time.Time{}, false
	}
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return sinceEpoch(n)
	}
	if t, ok := dateAndTime(text); ok {
		return t, t.Year() >= 1 && t.Year() <= 9999
	}
	return fractional(text)
}

// dateAndTime reads the forms in which languages and servers write times.
func dateAndTime(text string) (time.Time, bool) {
	if len(text) < len("2006-01-02T15:04") || len(text) > 64 {
		return time.Time{}, false
	}
	if i := strings.Index(text, " m="); i > 0 { // Go's monotonic clock
		text = text[:i]
	}
	for _, layout := range [...]string{ // each may have a fraction of a second
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05",
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05",
		"2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 Z0700", "2006-01-02T15:04:05 Z0700",
		"2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 Z0700 MST",
		"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "02/Jan/2006:15:04:05 Z0700",
		time.RFC1123, time.RFC1123Z, time.ANSIC, time.UnixDate,
	} {
		t, err := time.Parse(layout, text)
		if err == nil && knownZone(t) {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// knownZone reports whether the offset of t is sure: the name of a zone says one only if it is UTC.
func knownZone(t time.Time) bool {
	name, offset := t.Zone()
	return offset != 0 || name == "" || name == "UTC" || name == "GMT" || name == "Z"
}

// sinceEpoch derives the unit of n from its size.
func sinceEpoch(n int64) (time.Time, bool) {
	switch {
	case n < 1e8:
		return time.Time{}, false
	case n < 1e11:
		return time.Unix(n, 0).UTC(), true
	case n < 1e14:
		return time.UnixMilli(n).UTC(), true
	case n < 1e17:
		return time.UnixMicro(n).UTC(), true
	}
	return time.Unix(0, n).UTC(), true
}

// fractional reads a count with a fraction or an exponent, exactly.
func fractional(text string) (time.Time, bool) {
	if len(text) > 64 || strings.Trim(text, "0123456789.eE+-") != "" {
		return time.Time{}, false
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if exp := parseExponent(text[i+1:]); exp > 18 || exp < -18 { // a Rat would write it out
			return time.Time{}, false
		}
	}
	f, ok := new(big.Rat).SetString(text)
	if !ok || f.Cmp(big.NewRat(1e8, 1)) < 0 {
		return time.Time{}, false
	}
	unit := int64(1)
	for _, u := range [...]struct{ below, nanoseconds int64 }{{1e17, 1e3}, {1e14, 1e6}, {1e11, 1e9}} {
		if f.Cmp(big.NewRat(u.below, 1)) < 0 {
			unit = u.nanoseconds
		}
	}
	f.Mul(f, big.NewRat(unit, 1))
	nanoseconds := new(big.Int).Quo(f.Num(), f.Denom())
	if !nanoseconds.IsInt64() {
		if at := new(big.Int).Quo(nanoseconds, big.NewInt(1e9)); at.IsInt64() && at.Int64() < lastMilli/1000 {
			return time.Unix(at.Int64(), 0).UTC(), true
		}
		return time.Time{}, false
	}
	return time.Unix(0, nanoseconds.Int64()).UTC(), true
}
