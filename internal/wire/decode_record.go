package wire

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/wardstream/wardstream/internal/event"
)

// attributesMember is the member that makes a LogRecord of an object.
const attributesMember = "attributes"

// otlpDepth is how much deeper OTLP/JSON nests than the values it stands for:
// {"kvlistValue": {"values": [{"key": …, "value": {…}}]}} is one object.
const otlpDepth = 4

// readDocument reads the JSON object that is the event: a LogRecord, or plain.
func (s *scratch) readDocument(text string) error {
	s.json.from(text)
	if _, err := s.json.next(); err != nil { // the brace that document found
		return err
	}
	kind, err := s.topLevel()
	if err != nil {
		return err
	}
	if err := s.json.end(); err != nil {
		return err
	}
	if kind != jsontext.KindInvalid && isRecord(s.attrs) {
		return s.record()
	}
	return s.plain(kind)
}

// topLevel reads the members of the event's object into s.attrs. Its member "attributes" goes
// to s.inner if it is an object and to s.otlp if it is a list, and its kind is
// returned.
func (s *scratch) topLevel() (kind jsontext.Kind, err error) {
	for s.json.dec.PeekKind() == jsontext.KindString {
		name, err := s.name()
		if err != nil {
			return kind, err
		}
		next := s.json.dec.PeekKind()
		switch {
		case name == attributesMember && kind != jsontext.KindInvalid:
			return kind, malformed(Duplicate, "an object has two members of one name")
		case name == attributesMember && (next == jsontext.KindBeginObject || next == jsontext.KindBeginArray):
			kind = next
			err = s.attributes(kind)
		default:
			err = s.topMember(name)
		}
		if err != nil {
			return kind, err
		}
	}
	_, err = s.json.next()
	if _, dup := event.Find(s.attrs, attributesMember); dup && kind != jsontext.KindInvalid {
		err = malformed(Duplicate, "an object has two members of one name")
	}
	return kind, err
}

func (s *scratch) topMember(name string) error {
	v, err := s.value(s.limits.Depth)
	if err != nil {
		return err
	}
	return s.member(&s.attrs, name, v)
}

// attributes reads the member "attributes" of this kind.
func (s *scratch) attributes(kind jsontext.Kind) error {
	if kind == jsontext.KindBeginArray {
		v, err := s.value(s.limits.Depth*otlpDepth + otlpDepth)
		s.otlp, _ = v.([]any)
		return err
	}
	if _, err := s.json.next(); err != nil {
		return err
	}
	return s.members(&s.inner)
}

// isRecord reports whether an object with attributes of its own is a LogRecord:
// it is, unless it says its event_type outside of them beside members that
// no LogRecord has. Then "attributes" is an attribute like any other, and what stands in it
// can't pass for the event's own.
func isRecord(members []event.Attr) bool {
	typed, foreign := false, false
	for i := range members {
		if members[i].Name == "event_type" {
			text, ok := event.Text(members[i].Value)
			typed = ok && text != ""
		} else if recordName(members[i].Name) == "" {
			foreign = true
		}
	}
	return !typed || !foreign
}

// recordName returns the name under which a LogRecord's own member is kept, or
// "" for what is none.
func recordName(name string) string {
	switch name {
	case "timestamp", "time_unix_nano", "timeUnixNano":
		return "timestamp"
	case "observed_timestamp", "observed_time_unix_nano", "observedTimeUnixNano":
		return "observed_timestamp"
	case "severity_text", "severityText":
		return "severity_text"
	case "severity_number", "severityNumber":
		return "severity_number"
	case "event_name", "eventName":
		return "event_name"
	case "body", "resource", "schema_version":
		return name
	case "instrumentation_scope", "instrumentationScope":
		return "instrumentation_scope"
	case "trace_id", "traceId":
		return "trace_id"
	case "span_id", "spanId":
		return "span_id"
	case "trace_flags", "traceFlags", "flags":
		return "trace_flags"
	case "dropped_attributes_count", "droppedAttributesCount":
		return "dropped_attributes_count"
	case "schema_url", "schemaUrl":
		return "schema_url"
	}
	return ""
}

// plain makes attributes of a plain object's members; kind is that of its
// member "attributes".
func (s *scratch) plain(kind jsontext.Kind) error {
	var nested any
	switch kind {
	case jsontext.KindBeginArray:
		nested = s.otlp
	case jsontext.KindBeginObject:
		m := make(map[string]any, len(s.inner))
		for _, a := range s.inner {
			m[a.Name] = a.Value
		}
		nested = m
	}
	if nested != nil {
		if depthOf(nested) > s.limits.Depth {
			return malformed(TooDeep, "a value is nested deeper than the limit")
		}
		if err := s.add(&s.attrs, attributesMember, nested); err != nil {
			return err
		}
	}
	s.splitNulls()
	return nil
}

// record makes attributes of a LogRecord: those it carries, then its own
// members under their snake_case names where none of the attributes is called so.
func (s *scratch) record() error {
	if err := s.otlpAttributes(); err != nil {
		return err
	}
	carried := len(s.inner)
	for i := range s.attrs {
		a := s.attrs[i]
		if name := recordName(a.Name); name != "" {
			a = event.Attr{Name: name, Value: recordValue(a.Name, a.Value)}
		} else if carried++; carried > s.limits.Attributes {
			return malformed(TooMany, "the entry has more attributes than the limit")
		}
		if _, taken := event.Find(s.inner, a.Name); !taken {
			s.inner = append(s.inner, a)
		}
	}
	s.attrs, s.inner = s.inner, s.attrs
	s.splitNulls()
	return nil
}

// splitNulls takes the attributes that are null out of s.attrs.
func (s *scratch) splitNulls() {
	kept := s.attrs[:0]
	for _, a := range s.attrs {
		if a.Value == nil {
			s.nulls = append(s.nulls, a.Name)
			continue
		}
		kept = append(kept, a)
	}
	clear(s.attrs[len(kept):])
	s.attrs = kept
}

// depthOf returns how many objects and lists lie within one another in v.
func depthOf(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			deepest = max(deepest, depthOf(item))
		}
	case []any:
		for _, item := range v {
			deepest = max(deepest, depthOf(item))
		}
	default:
		return 0
	}
	return deepest + 1
}
