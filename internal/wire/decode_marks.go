package wire

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// marks are the attributes that say what an event is rather than what happened.
type marks struct {
	typ, name, camelName, id, timestamp any
	parent, traceID, spanID, flags      any
	scopes                              [builtinScopes]any
}

// find looks all of them up in one pass.
func (m *marks) find(attrs []event.Attr) {
	for i := range attrs {
		v := attrs[i].Value
		switch attrs[i].Name {
		case "event_type":
			m.typ = v
		case "event_name":
			m.name = v
		case "eventName":
			m.camelName = v
		case "event_id":
			m.id = v
		case "timestamp", "time_unix_nano", "timeUnixNano":
			m.timestamp = v
		case "traceparent":
			m.parent = v
		case "trace_id":
			m.traceID = v
		case "span_id":
			m.spanID = v
		case "trace_flags":
			m.flags = v
		case "source.address":
			m.scopes[0] = v
		case "user.id":
			m.scopes[1] = v
		case "user.name":
			m.scopes[2] = v
		case "session.id":
			m.scopes[3] = v
		case "http.route":
			m.scopes[4] = v
		}
	}
}

// eventType is event_type, else event_name; a number or boolean is taken by
// its text, what is blank counts as absent.
func (m *marks) eventType() string {
	for _, v := range [...]any{m.typ, m.name, m.camelName} {
		if text, ok := event.Text(v); ok && strings.TrimSpace(text) != "" {
			return text
		}
	}
	return ""
}

// builtinScopes is how many scope types every deployment has.
const builtinScopes = 5

// scopesOf returns the event's scopes: ip, user, username, session, route, then
// the operator's.
func (d *Decoder) scopesOf(e *event.Event, m *marks) []checker.Scope {
	types := [builtinScopes]string{
		checker.ScopeIP, checker.ScopeUser, checker.ScopeUsername, checker.ScopeSession, checker.ScopeRoute,
	}
	var found []checker.Scope
	for i, typ := range types {
		text, ok := event.Text(m.scopes[i])
		if !ok {
			continue
		}
		if scope, ok := d.scope(typ, text); ok {
			if found == nil {
				found = make([]checker.Scope, 0, builtinScopes+len(d.opts.Scopes))
			}
			found = append(found, scope)
		}
	}
	for _, spec := range d.opts.Scopes {
		for _, name := range spec.Attributes {
			if scope, ok := d.scope(spec.Name, e.Text(name)); ok {
				found = append(found, scope)
				break
			}
		}
	}
	return found
}

func (d *Decoder) scope(typ, text string) (checker.Scope, bool) {
	if typ != checker.ScopeIP {
		return checker.NewScope(typ, text)
	}
	addr, ok := checker.ParseAddr(text)
	if !ok {
		return checker.Scope{}, false
	}
	return checker.IPScope(addr, d.opts.IPv6Prefix), true
}

// lastMilli is the end of the year 9999, past which no time is written.
const lastMilli = 253402300799999

// EntryTime is the time of a stream entry by its ID; ok is false for what is no ID.
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

// ownTime reads an event's own timestamp: ISO 8601 with an offset, or a count
// since 1970, in nanoseconds by contract; the smaller counts that
// seconds, milliseconds and microseconds make of the years 1973 to 5138 are told by their size.
func ownTime(v any) (time.Time, bool) {
	text, ok := event.Text(v)
	if !ok {
		return time.Time{}, false
	}
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return sinceEpoch(n)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f > 0 && f < math.MaxUint32*8 {
		return time.UnixMicro(int64(math.Round(f * 1e6))).UTC(), true
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// sinceEpoch tells the unit of n by its size.
func sinceEpoch(n int64) (time.Time, bool) {
	switch {
	case n <= 0:
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

// traceParent is the producer's W3C context: the attribute traceparent, else
// what a LogRecord says of trace and span. What is not well-formed is dropped.
func (m *marks) traceParent() string {
	if text, ok := m.parent.(string); ok {
		return validTraceParent(text)
	}
	trace, _ := m.traceID.(string)
	span, _ := m.spanID.(string)
	if trace == "" || span == "" {
		return ""
	}
	flags := "00"
	if text, ok := event.Text(m.flags); ok && text != "" && strings.IndexByte("13579bdfBDF", text[len(text)-1]) >= 0 {
		flags = "01" // the lowest bit, in decimal as in hexadecimal
	}
	trace, span = strings.TrimPrefix(trace, "0x"), strings.TrimPrefix(span, "0x")
	return validTraceParent("00-" + trace + "-" + span + "-" + flags)
}

// validTraceParent returns s in lower case if it is a traceparent of version 00
// with ids that are not zero, else "".
func validTraceParent(s string) string {
	s = strings.ToLower(s)
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, trace, span, flags := s[:2], s[3:35], s[36:52], s[53:]
	if version != "00" || !isHex(trace) || !isHex(span) || !isHex(flags) ||
		strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return ""
	}
	return s
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}
