package wire

import (
	"maps"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
)

// allowance is how many values each attribute may have although the entry has more than its limit
// already: what a client has an application publish first must not hide what comes after it.
const allowance = 16

// admit counts one more value of a size in bytes and reports whether it is kept.
func (s *scratch) admit(size int) bool {
	if s.values++; s.large {
		s.size += min(size, s.limits.StringBytes)
	}
	if s.values <= s.limits.Values && !s.full() {
		return true
	}
	if s.allowance > 0 {
		s.allowance--
		return true
	}
	return s.keep(strings.Join(s.path, "."))
}

// full reports whether as many bytes are kept as may be.
func (s *scratch) full() bool { return s.size > s.limits.EntryBytes }

// keep reports whether an attribute of this name or path is kept whatever the limits: a bounded
// number of names says what happened to whom, or is what rules compare, or is an object around such
// a one.
func (s *scratch) keep(name string) bool {
	switch name {
	case "event_type", "event_name", "eventName", "event.name", "otel.event.name", "event_id", "event", "timestamp", "time_unix_nano", "timeUnixNano",
		"traceparent", "trace_id", "span_id", "trace_flags":
		return true
	}
	if _, ok := s.deciding[name]; ok || event.Decides(name) {
		return true
	}
	for path := range s.deciding {
		if strings.HasPrefix(path, name) && path[len(name)] == '.' {
			return true
		}
	}
	return false
}

// deepest is a depth at which no value is kept any more.
func (s *scratch) deepest() int { return (s.limits.Depth + 2) * (otlpDepth + 1) }

// deciding returns the attributes that must not be ambiguous, and for events of which types; nil
// stands for all types.
func deciding(o DecoderOptions) map[string][]string {
	out := map[string][]string{}
	for _, name := range slices.Concat(event.ScopeNames(), []string{"event_type", "event_name", "eventName", "event_id"}) {
		out[name] = nil
	}
	if o.OwnTime {
		for _, name := range timestampNames() {
			out[name] = nil
		}
	}
	for _, spec := range o.Scopes {
		for _, name := range spec.Attributes {
			out[name] = nil
		}
	}
	for _, c := range o.Comparisons {
		if types, ok := out[c.Attribute]; !ok || types != nil {
			out[c.Attribute] = append(types, c.Type)
		}
	}
	return out
}

// A conflict is an attribute that has two values, and the event types for which that matters; nil:
// all.
type conflict struct {
	name  string
	types []string
}

// repeated notes that an attribute or member at the path has a second value, which is dropped.
func (s *scratch) repeated(path string, first, second any) {
	s.dropped = true
	if same(first, second) {
		return
	}
	if types, ok := s.deciding[path]; ok {
		s.clash(path, types)
	}
	if !isObject(first) && !isObject(second) {
		return
	}
	for name, types := range s.deciding {
		rest, ok := strings.CutPrefix(name, path+".")
		if !ok {
			continue
		}
		a, _ := event.Walk(first, rest)
		if b, _ := event.Walk(second, rest); !same(a, b) {
			s.clash(name, types)
		}
	}
}

func (s *scratch) clash(name string, types []string) {
	if !slices.ContainsFunc(s.conflicts, func(c conflict) bool { return c.name == name }) {
		s.conflicts = append(s.conflicts, conflict{name, types})
	}
}

// ambiguity is the error of an event of this type in which an attribute that decides has two
// values: which of them counts differs between parsers, and that is a way past rules.
func (s *scratch) ambiguity(eventType string) error {
	found := ""
	for _, c := range s.conflicts {
		if c.types != nil && !slices.Contains(c.types, eventType) && !slices.Contains(c.types, "") {
			continue
		}
		if found == "" || c.name < found {
			found = c.name
		}
	}
	if found == "" {
		return nil
	}
	return malformed(Duplicate, found+" has two values: publish one")
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

// same reports whether two values say the same.
func same(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, same)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case nil:
		return b == nil
	}
	text, _ := event.Text(a)
	other, ok := event.Text(b)
	return ok && text == other
}
