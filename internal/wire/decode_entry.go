package wire

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
)

// A scratch is the memory one decoding needs; it is used again for others.
type scratch struct {
	limits Limits
	json   *tokens
	attrs  []event.Attr // what is to become the event's attributes
	nulls  []string
	inner  []event.Attr // members of the member "attributes" where that is an object
	otlp   []any        // the member "attributes" where that is a list
	values int          // values read so far, at all depths
}

func newScratch(l Limits) *scratch {
	return &scratch{limits: l, json: newTokens()}
}

// clear lets go of what the last entry left.
func (s *scratch) clear() {
	clear(s.attrs)
	clear(s.nulls)
	clear(s.inner)
	s.attrs, s.nulls, s.inner, s.values = s.attrs[:0], s.nulls[:0], s.inner[:0], 0
	s.otlp = nil
	s.json.release()
}

// document returns the index of the value that is the whole event as JSON, or
// -1 if the entry is flat. The field "event" that holds an object always is the
// event. "data" and "payload" hold other things too, such as what a client
// sent: they are the event only if it is one of them alone and the entry has no
// event_type or event_name of its own, so that nobody's payload can pass for attributes.
func document(fields []string) int {
	typed, found, candidates := false, -1, 0
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "event_type", "event_name":
			typed = typed || fields[i+1] != ""
		case "event":
			if opens(fields[i+1], '{') {
				return i + 1
			}
		case "data", "payload":
			if opens(fields[i+1], '{') {
				found = i + 1
				candidates++
			}
		}
	}
	if typed || candidates != 1 {
		return -1
	}
	return found
}

// opens reports whether the JSON text s starts with c.
func opens(s string, c byte) bool {
	for i := range len(s) {
		switch s[i] {
		case ' ', '\t', '\r', '\n':
		default:
			return s[i] == c
		}
	}
	return false
}

// read fills s.attrs and s.nulls from an entry.
func (s *scratch) read(fields []string) error {
	doc := document(fields)
	if doc >= 0 {
		if err := s.readDocument(fields[doc]); err != nil {
			return err
		}
	}
	own := len(s.attrs)
	for i := 0; i+1 < len(fields); i += 2 {
		if i+1 == doc {
			continue
		}
		if doc >= 0 && fields[i] == fields[doc-1] {
			return malformed(Duplicate, "two fields hold the event")
		}
		if err := s.field(fields[i], fields[i+1], own); err != nil {
			return err
		}
	}
	if doc < 0 {
		return untyped(s.attrs, fields)
	}
	return nil
}

// field adds a field of the entry, unless it is among the attrs[:own] that the
// JSON object gave.
func (s *scratch) field(name, text string, own int) error {
	for i := range s.attrs {
		switch {
		case s.attrs[i].Name != name:
		case i < own:
			return nil
		default:
			return malformed(Duplicate, "two fields have one name")
		}
	}
	v, err := s.fieldValue(text)
	if err != nil {
		return err
	}
	return s.add(&s.attrs, name, v)
}

// fieldValue is the value of a flat field: what parses whole as a JSON array
// or object is one, everything else is a string.
func (s *scratch) fieldValue(text string) (any, error) {
	if !opens(text, '{') && !opens(text, '[') {
		return s.text(text)
	}
	v, err := s.embedded(text)
	if m := (*Malformed)(nil); errors.As(err, &m) && m.Class == NotJSON {
		return s.text(text)
	}
	return v, err
}

// text counts and cuts a string value.
func (s *scratch) text(v string) (any, error) {
	if err := s.count(); err != nil {
		return nil, err
	}
	return cut(v, s.limits.StringBytes), nil
}

// add appends an attribute whose name is known to be new.
func (s *scratch) add(to *[]event.Attr, name string, v any) error {
	if len(*to) >= s.limits.Attributes {
		return malformed(TooMany, "the entry has more attributes than the limit")
	}
	if len(name) > s.limits.StringBytes {
		return malformed(Oversized, "an attribute's name is longer than the limit")
	}
	*to = append(*to, event.Attr{Name: name, Value: v})
	return nil
}

// count counts one more value.
func (s *scratch) count() error {
	if s.values++; s.values > s.limits.Values {
		return malformed(TooMany, "the entry has more nested values than the limit")
	}
	return nil
}

// untyped explains a flat entry without a type that was meant to be JSON.
func untyped(attrs []event.Attr, fields []string) error {
	for i := range attrs {
		if attrs[i].Name == "event_type" || attrs[i].Name == "event_name" {
			return nil
		}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "event" && fields[i] != "data" && fields[i] != "payload" {
			continue
		}
		switch v := fields[i+1]; {
		case opens(v, '{') && json.Valid([]byte(v)): // data and payload, and neither is preferred
			return malformed(NoEventType, "two fields could hold the event, and no field has its type")
		case strings.TrimSpace(v) == "":
			return malformed(Empty, "the field that holds the event is empty")
		case json.Valid([]byte(v)):
			return malformed(NotObject, "the field that holds the event is no JSON object")
		default:
			return malformed(NotJSON, "the field that holds the event is no JSON")
		}
	}
	return nil
}
