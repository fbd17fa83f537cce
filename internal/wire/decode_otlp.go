package wire

import (
	"strconv"

	"github.com/wardstream/wardstream/internal/event"
)

// otlpAttributes adds s.otlp, OTLP/JSON's list of {"key": …, "value": …}, to s.inner.
func (s *scratch) otlpAttributes() error {
	for _, item := range s.otlp {
		key, raw, ok := keyValuePair(item)
		if !ok {
			return errNoPairs()
		}
		v, err := anyValue(raw, s.limits.Depth)
		if err != nil {
			return err
		}
		if err := s.member(&s.inner, key, v); err != nil {
			return err
		}
	}
	return nil
}

func errNoPairs() error {
	return malformed(BadAttributes, "the attributes are neither an object nor a list of key and value")
}

func keyValuePair(item any) (key string, value any, ok bool) {
	m, _ := item.(map[string]any)
	key, ok = m["key"].(string)
	return key, m["value"], ok
}

// anyValue is the value that an OTLP AnyValue stands for, nested in at most depth objects
// and lists. A scalar that is not wrapped stands for itself.
func anyValue(v any, depth int) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		if _, isList := v.([]any); isList {
			return nil, errNoPairs()
		}
		return v, nil
	}
	if len(m) > 1 {
		return nil, errNoPairs()
	}
	for kind, inner := range m {
		return typedValue(kind, inner, depth)
	}
	return nil, nil
}

// typedValue is the value of an AnyValue's one member.
func typedValue(kind string, v any, depth int) (any, error) {
	switch kind {
	case "stringValue", "string_value", "bytesValue", "bytes_value", "boolValue", "bool_value":
		if _, ok := event.Text(v); ok {
			return v, nil
		}
	case "intValue", "int_value", "doubleValue", "double_value":
		if text, ok := v.(string); ok {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				return event.Number(strconv.FormatInt(n, 10)), nil
			}
		}
		if _, ok := event.Text(v); ok {
			return v, nil
		}
	case "arrayValue", "array_value":
		return arrayValue(v, depth-1)
	case "kvlistValue", "kvlist_value":
		return kvlistValue(v, depth-1)
	}
	return nil, errNoPairs()
}

// otlpValues returns the list inside an arrayValue or kvlistValue.
func otlpValues(v any, depth int) ([]any, error) {
	if depth < 0 {
		return nil, malformed(TooDeep, "a value is nested deeper than the limit")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errNoPairs()
	}
	list, ok := m["values"].([]any)
	if !ok && m["values"] != nil {
		return nil, errNoPairs()
	}
	return list, nil
}

func arrayValue(v any, depth int) (any, error) {
	list, err := otlpValues(v, depth)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(list))
	for i := range list {
		if out[i], err = anyValue(list[i], depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func kvlistValue(v any, depth int) (any, error) {
	list, err := otlpValues(v, depth)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(list))
	for _, item := range list {
		key, raw, ok := keyValuePair(item)
		if !ok {
			return nil, errNoPairs()
		}
		if _, dup := out[key]; dup {
			return nil, malformed(Duplicate, "an object has two members of one name")
		}
		if out[key], err = anyValue(raw, depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// recordValue undoes OTLP's wrapping of the members that may have it: the body
// (an AnyValue) and the resource ({"attributes": [...]}). What is not so wrapped stays.
func recordValue(name string, v any) any {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return v
	}
	switch name {
	case "body":
		if inner, err := anyValue(m, otlpDepth); err == nil {
			return inner
		}
	case "resource":
		switch attrs := m[attributesMember].(type) {
		case map[string]any:
			return attrs
		case []any:
			if flat, err := kvlistValue(map[string]any{"values": attrs}, otlpDepth); err == nil {
				return flat
			}
		}
	}
	return v
}
