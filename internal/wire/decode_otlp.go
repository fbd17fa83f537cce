package wire

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wardstream/wardstream/internal/event"
)

// pairs reads the rest of OTLP/JSON's list of attributes into s.otlp.
func (s *scratch) pairs() error {
	s.otlp = []any{}
	for {
		switch s.json.dec.PeekKind() {
		case jsontext.KindEndArray, jsontext.KindInvalid:
			_, err := s.json.next()
			return err
		}
		s.allowance = allowance
		item, kept, err := s.value(s.limits.Depth*otlpDepth + otlpDepth)
		if err != nil {
			return err
		}
		key, _, pair := keyValuePair(item)
		if !kept || len(s.otlp) >= s.limits.Attributes && !(pair && s.keep(key)) {
			s.dropped = true
			continue
		}
		s.otlp = append(s.otlp, item)
	}
}

// otlpAttributes adds s.otlp, a list of {"key": …, "value": …}, to s.inner. A pair that can't be
// read is dropped, unless it decides or there is no other.
func (s *scratch) otlpAttributes() error {
	read := 0
	for _, item := range s.otlp {
		key, raw, ok := keyValuePair(item)
		if !ok {
			s.dropped = true
			continue
		}
		v, ok := s.anyValue(key, raw, s.limits.Depth)
		if _, decides := s.deciding[key]; !ok && decides {
			return malformed(BadAttributes, "the value of "+key+" is not a single OTLP value such as {\"stringValue\": …}")
		}
		if read++; ok {
			a := event.AnyAttr(key, v)
			s.member(&s.inner, &a)
		} else {
			s.dropped = true
		}
	}
	if read == 0 && len(s.otlp) > 0 {
		return malformed(BadAttributes, "the attributes are neither an object nor a list of key and value")
	}
	return nil
}

func keyValuePair(item any) (key string, value any, ok bool) {
	m, _ := item.(map[string]any)
	key, ok = m["key"].(string)
	return key, m["value"], ok
}

// anyValue is the value that an OTLP AnyValue stands for, nested in at most depth objects and
// lists. A scalar that is not wrapped stands for itself. path is where the value is. It reports
// false for what is none, or too deep.
func (s *scratch) anyValue(path string, v any, depth int) (any, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		_, isList := v.([]any)
		return v, !isList
	}
	if len(m) > 1 {
		return nil, false
	}
	for kind, inner := range m {
		return s.typedValue(path, kind, inner, depth)
	}
	return nil, true
}

// typedValue is the value of an AnyValue's one member.
func (s *scratch) typedValue(path, kind string, v any, depth int) (any, bool) {
	switch kind {
	case "stringValue", "string_value", "bytesValue", "bytes_value", "boolValue", "bool_value":
		_, ok := event.Text(v)
		return v, ok
	case "intValue", "int_value", "doubleValue", "double_value":
		if text, ok := v.(string); ok {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				return event.Number(strconv.FormatInt(n, 10)), true
			}
		}
		_, ok := event.Text(v)
		return v, ok
	case "arrayValue", "array_value":
		return s.arrayValue(path, v, depth-1)
	case "kvlistValue", "kvlist_value":
		return s.kvlistValue(path, v, depth-1)
	}
	return nil, false
}

// otlpValues returns the list inside an arrayValue or kvlistValue.
func otlpValues(v any) ([]any, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	list, ok := m["values"].([]any)
	return list, ok || m["values"] == nil
}

func (s *scratch) arrayValue(path string, v any, depth int) (any, bool) {
	list, ok := otlpValues(v)
	if !ok || depth < 0 {
		return nil, false
	}
	out := make([]any, 0, len(list))
	for i := range list {
		item, ok := s.anyValue(path, list[i], depth)
		if !ok {
			s.dropped = true
			continue
		}
		out = append(out, item)
	}
	return out, true
}

func (s *scratch) kvlistValue(path string, v any, depth int) (any, bool) {
	list, ok := otlpValues(v)
	if !ok || depth < 0 {
		return nil, false
	}
	out := make(map[string]any, len(list))
	for _, item := range list {
		key, raw, ok := keyValuePair(item)
		if !ok {
			s.dropped = true
			continue
		}
		inner := path + "." + key
		v, ok := s.anyValue(inner, raw, depth)
		if first, dup := out[key]; dup {
			s.repeated(inner, first, v)
		} else if ok {
			out[key] = v
		} else {
			s.dropped = true
		}
	}
	return out, true
}

// recordValue undoes OTLP's wrapping of the members that may have it: the body
// (an AnyValue) and the resource ({"attributes": [...]}). What is not so wrapped stays.
func (s *scratch) recordValue(name string, v any) any {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return v
	}
	switch name {
	case "body":
		if inner, ok := s.anyValue(name, m, otlpDepth); ok {
			return inner
		}
	case "resource":
		switch attrs := m[attributesMember].(type) {
		case map[string]any:
			return attrs
		case []any:
			if flat, ok := s.kvlistValue(name, map[string]any{"values": attrs}, otlpDepth); ok {
				return flat
			}
		}
	}
	return v
}
