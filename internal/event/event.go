// Package event holds the audit event as rules see it: a type, a time and
// attributes under their canonical names.
package event

import (
	"strings"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// An Event is one decoded stream entry. It is built once by the decoder and
// read-only from then on; its methods are safe for concurrent use.
type Event struct {
	Stream string // stream the entry came from
	ID     string // entry ID, "milliseconds-sequence"
	Type   string // event_type
	Time   time.Time
	// Member tells this event from every other in windows that count events: the producer's
	// event_id if there is one, else the entry ID.
	Member string
	// TraceParent is the producer's W3C traceparent, or empty.
	TraceParent string
	// Attrs are the attributes as published, in no particular order, names
	// unique, and the canonical ones that raw names stood for (see
	// [Canonicalize]): rules ask for canonical names only.
	Attrs []Attr
	// Nulls are the names published as null. Such an attribute is absent,
	// whatever a nested object says.
	Nulls []string
	// Scopes are the values that can be counted or blocked, canonical, at most one
	// of each type. An attribute that should be one and is not, such as an address that can't be read, stays
	// among Attrs: Get finds it where Scope does not.
	Scopes []checker.Scope
	// Truncated says that parts were cut, replaced or dropped so that the rest counts; the event has the attribute
	// [TruncatedName] then.
	Truncated bool
	// AddressConflict says that several attributes name the client's address, and not the same one.
	AddressConflict bool
	// Untimed says that the event was to be dated by its own timestamp and has none, so that Time is the entry's.
	Untimed bool
}

// TruncatedName is the attribute, true, of an event of which parts were cut, replaced or dropped.
const TruncatedName = "wardstream.truncated"

// An Attr is one attribute. Value is a string, Number, bool, map[string]any or
// []any; never nil. Inside maps and lists nil stands for null.
type Attr struct {
	Name  string
	Value any
}

// A Number is a JSON number as it was written, so that decimals stay exact.
type Number string

// MarshalJSON writes the number as it was written.
func (n Number) MarshalJSON() ([]byte, error) {
	if n == "" {
		return []byte("0"), nil
	}
	return []byte(n), nil
}

// Scope returns the value of the event's scope of typ, or "".
func (e *Event) Scope(typ string) string {
	for i := range e.Scopes {
		if e.Scopes[i].Type == typ {
			return e.Scopes[i].Value
		}
	}
	return ""
}

// Get looks an attribute up: the flat name first, then the dotted path through
// nested objects. Null counts as absent. The raw names srcip, user_id,
// session_id, route and route_name find the canonical attribute where the
// event does not have them itself.
func (e *Event) Get(name string) (any, bool) {
	if v, ok := Find(e.Attrs, name); ok {
		return v, true
	}
	if canonical := canonicalOf(name); canonical != "" {
		if v, ok := Find(e.Attrs, canonical); ok {
			return v, true
		}
	}
	for _, null := range e.Nulls {
		if null == name {
			return nil, false
		}
	}
	return FindPath(e.Attrs, name)
}

// Text returns an attribute as text: strings as they are, numbers as written,
// booleans as true or false. Objects, lists and absent attributes are "".
func (e *Event) Text(name string) string {
	v, _ := e.Get(name)
	s, _ := Text(v)
	return s
}

// Find returns the value of the attribute of exactly this name.
func Find(attrs []Attr, name string) (any, bool) {
	for i := range attrs {
		if attrs[i].Name == name {
			return attrs[i].Value, true
		}
	}
	return nil, false
}

// FindPath follows the dotted path name through nested objects: the attribute
// named by what stands before the first dot, then its members.
func FindPath(attrs []Attr, name string) (any, bool) {
	head, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil, false
	}
	v, ok := Find(attrs, head)
	if !ok {
		return nil, false
	}
	return Walk(v, rest)
}

// Walk follows a dotted path inside an object; at each level the longest
// spelling ("a.b" as one member) wins over the split one. Null counts as absent.
func Walk(v any, path string) (any, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	if v, ok := m[path]; ok {
		return v, v != nil
	}
	for i := len(path) - 1; i > 0; i-- {
		if path[i] != '.' {
			continue
		}
		if inner, ok := m[path[:i]]; ok {
			if v, ok := Walk(inner, path[i+1:]); ok {
				return v, true
			}
		}
	}
	return nil, false
}

// Text returns the text of a scalar attribute value and whether it is one.
func Text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Number:
		return string(v), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}
