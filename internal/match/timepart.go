package match

import "time"

// A timePart compares a part of a time: of text as RFC 3339 has it, or of seconds or milliseconds
// since 1970 in UTC. It is the part as written, in the text's own zone.
type timePart struct {
	part, op string // op is "" for equality
	n        int
}

// layouts are those of RFC 3339, and without a zone.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02"}

func (v timePart) matches(text string) bool {
	t, ok := parseTime(text)
	return ok && holds(v.of(t), v.op, v.n)
}

func (v timePart) of(t time.Time) int {
	switch v.part {
	case "minute":
		return t.Minute()
	case "hour":
		return t.Hour()
	case "day":
		return t.Day()
	case "week":
		_, week := t.ISOWeek()
		return week
	case "month":
		return int(t.Month())
	}
	return t.Year()
}

func parseTime(text string) (time.Time, bool) {
	const milliseconds = 1e11 // as seconds that would be after the year 5000
	if n, ok := parseNumber(text); ok && n >= 0 && n < 1e15 {
		if n >= milliseconds {
			return time.UnixMilli(int64(n)).UTC(), true
		}
		return time.Unix(int64(n), 0).UTC(), true
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
