package wire

import (
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wardstream/wardstream/internal/event"
)

// attributesMember is the member that makes a LogRecord of an object.
const attributesMember = "attributes"

// otlpDepth is how much deeper OTLP/JSON nests than the values it stands for:
// {"kvlistValue": {"values": [{"key": …, "value": {…}}]}} is one object.
const otlpDepth = 4

// wholeDocument reads the JSON object that is the event, in spite of what can be repaired.
func (s *scratch) wholeDocument(text string) error {
	err := s.readDocument(text)
	if errors.Is(err, errNesting) {
		text = flatten(text, s.deepest())
		err = s.readAgain(text)
	}
	if err == nil {
		if s.batch {
			return s.readBatch(text)
		}
		return nil
	}
	if class(err) == NotJSON {
		if fixed, changed := repair(text); changed {
			err = s.readAgain(fixed)
		}
		if class(err) == NotJSON && isPrinted(text) {
			return errPrinted()
		}
	}
	return err
}

// readAgain reads the document in another form, which is marked.
func (s *scratch) readAgain(text string) error {
	s.restart()
	s.dropped = true
	return s.readDocument(text)
}

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
	s.plain(kind)
	return nil
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
		switch name {
		case attributesMember:
			if kind != jsontext.KindInvalid {
				return kind, malformed(Duplicate, "the document has attributes twice")
			}
			if next == jsontext.KindBeginObject || next == jsontext.KindBeginArray {
				kind = next
				s.path = s.path[:0]
				if err := s.attributes(kind); err != nil {
					return kind, err
				}
				continue
			}
		case "resourceLogs", "resource_logs", "scopeLogs", "scope_logs", "logRecords", "log_records":
			s.batch = true
		}
		if err := s.memberValue(&s.attrs, name); err != nil {
			return kind, err
		}
	}
	_, err = s.json.next()
	if _, dup := event.Find(s.attrs, attributesMember); dup && kind != jsontext.KindInvalid && err == nil {
		err = malformed(Duplicate, "the document has attributes twice")
	}
	return kind, err
}

// attributes reads the member "attributes" of this kind.
func (s *scratch) attributes(kind jsontext.Kind) error {
	if _, err := s.json.next(); err != nil {
		return err
	}
	if kind == jsontext.KindBeginArray {
		return s.pairs()
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
			text, ok := members[i].Scalar()
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
func (s *scratch) plain(kind jsontext.Kind) {
	var nested any
	switch kind {
	case jsontext.KindBeginArray:
		nested = s.otlp
	case jsontext.KindBeginObject:
		m := make(map[string]any, len(s.inner))
		for i := range s.inner {
			m[s.inner[i].Name] = s.inner[i].Any()
		}
		nested = m
	}
	if nested != nil {
		nested, _ = s.pruned(nested, s.limits.Depth)
		s.add(&s.attrs, &event.Attr{Name: attributesMember, Value: nested})
	}
	s.splitNulls()
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
			a = event.AnyAttr(name, s.recordValue(a.Name, a.Any()))
		} else if carried++; carried > s.limits.Attributes && !s.keep(a.Name) {
			s.dropped = true
			continue
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
		if a.Text == "" && a.Value == nil {
			s.nulls = append(s.nulls, a.Name)
			continue
		}
		kept = append(kept, a)
	}
	clear(s.attrs[len(kept):])
	s.attrs = kept
}

// pruned returns v without the objects and lists that lie more than depth deep in one another. It
// reports false if nothing is left.
func (s *scratch) pruned(v any, depth int) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		if depth <= 0 {
			s.dropped = true
			return nil, false
		}
		for name, item := range v {
			if kept, ok := s.pruned(item, depth-1); ok {
				v[name] = kept
			} else {
				delete(v, name)
			}
		}
	case []any:
		if depth <= 0 {
			s.dropped = true
			return nil, false
		}
		kept := make([]any, 0, len(v))
		for _, item := range v {
			if item, ok := s.pruned(item, depth-1); ok {
				kept = append(kept, item)
			}
		}
		return kept, true
	}
	return v, true
}
