// Package event defines the audit event that rules evaluate: a type, a time and attributes with
// canonical names.
package event

import (
	"strings"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// An Event is a decoded stream entry. It must not be changed after decoding; its methods are safe
// for concurrent use.
type Event struct {
	Stream string // stream the entry came from
	ID     string // entry ID, "milliseconds-sequence"
	Type   string // event_type
	Time   time.Time
	// Member identifies the event in windows that count events: the producer's event_id if there is
	// one, else the entry ID.
	Member string
	// TraceParent is the producer's W3C traceparent, or empty.
	TraceParent string
	// Attrs are the attributes as published and the canonical attributes derived from raw names
	// (see [Canonicalize]), with unique names in no particular order. Rules use canonical names
	// only.
	Attrs []Attr
	// Nulls are the names published as null. Such an attribute is absent, even if a nested object
	// has it.
	Nulls []string
	// Scopes are the canonical values that can be counted or blocked, at most one of each type. An
	// attribute that is not a valid scope, such as a malformed address, is only among Attrs: Get
	// finds it and Scope does not.
	Scopes []checker.Scope
	// Truncated reports whether parts of the event were cut, replaced or dropped. It then has the
	// attribute [TruncatedName].
	Truncated bool
	// AddressConflict reports whether attributes name different addresses of the client.
	AddressConflict bool
	// Untimed reports whether the event should be dated by its own timestamp but has none, so that
	// Time is the entry's.
	Untimed bool
}

// TruncatedName is the attribute that is true in an event whose Truncated is set.
const TruncatedName = "wardstream.truncated"

// An Attr is one attribute. Its value is Text, unless Text is empty; then it is Value: a string,
// Number, bool, map[string]any or []any, never nil. Inside maps and lists nil stands for null. Most
// values are text, which would cost an allocation in Value.
type Attr struct {
	Name  string
	Text  string
	Value any
}

// TextAttr returns an attribute whose value is text.
func TextAttr(name, text string) Attr {
	a := Attr{Name: name}
	a.SetText(text)
	return a
}

// SetText makes text the value.
func (a *Attr) SetText(text string) {
	if a.Text, a.Value = text, nil; text == "" {
		a.Value = ""
	}
}

// AnyAttr returns an attribute whose value is v.
func AnyAttr(name string, v any) Attr {
	if text, ok := v.(string); ok {
		return TextAttr(name, text)
	}
	return Attr{Name: name, Value: v}
}

// Any returns the value.
func (a *Attr) Any() any {
	if a.Text != "" {
		return a.Text
	}
	return a.Value
}

// String returns a value that is text; false for other values and a nil attribute.
func (a *Attr) String() (string, bool) {
	switch {
	case a == nil:
		return "", false
	case a.Text != "":
		return a.Text, true
	}
	s, ok := a.Value.(string)
	return s, ok
}

// Scalar returns the text of a scalar value, as [Text] does; false for other values and a nil
// attribute.
func (a *Attr) Scalar() (string, bool) {
	switch {
	case a == nil:
		return "", false
	case a.Text != "":
		return a.Text, true
	}
	return Text(a.Value)
}

// A Number is the text of a JSON number, so that decimals stay exact.
type Number string

// MarshalJSON returns the original text.
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

// Get returns the value of an attribute: by flat name first, then by dotted path through nested
// objects. Null counts as absent. The raw names srcip, user_id, session_id, route and route_name
// return the canonical attribute if the event does not have them itself.
func (e *Event) Get(name string) (any, bool) {
	a, ok := e.Attr(name)
	if !ok {
		return nil, false
	}
	return a.Any(), true
}

// Attr is Get without the cost of an interface for text.
func (e *Event) Attr(name string) (Attr, bool) {
	if a := find(e.Attrs, name); a != nil {
		return *a, true
	}
	if canonical := canonicalOf(name); canonical != "" {
		if a := find(e.Attrs, canonical); a != nil {
			return *a, true
		}
	}
	for _, null := range e.Nulls {
		if null == name {
			return Attr{}, false
		}
	}
	v, ok := FindPath(e.Attrs, name)
	if !ok {
		return Attr{}, false
	}
	return AnyAttr(name, v), true
}

// Text returns an attribute as text: strings unchanged, numbers as published, booleans as true or
// false. It returns "" for objects, lists and absent attributes.
func (e *Event) Text(name string) string {
	if a := find(e.Attrs, name); a != nil {
		s, _ := a.Scalar()
		return s
	}
	v, _ := e.Get(name)
	s, _ := Text(v)
	return s
}

// Find returns the value of the attribute with exactly this name.
func Find(attrs []Attr, name string) (any, bool) {
	a := find(attrs, name)
	if a == nil {
		return nil, false
	}
	return a.Any(), true
}

func find(attrs []Attr, name string) *Attr {
	for i := range attrs {
		if attrs[i].Name == name {
			return &attrs[i]
		}
	}
	return nil
}

// FindPath follows a dotted path through nested objects, from the attribute named before the first
// dot.
func FindPath(attrs []Attr, name string) (any, bool) {
	head, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil, false
	}
	a := find(attrs, head)
	if a == nil {
		return nil, false
	}
	return Walk(a.Value, rest) // of an object; text has no members
}

// Walk follows a dotted path inside an object. At each level the longest matching member name
// ("a.b" as one member) takes precedence. Null counts as absent.
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

// Text returns the text of a scalar attribute value; false for other values.
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
