package wire

import (
	"maps"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// polish cleans and cuts the text of an event whose scopes are known: bytes that are not UTF-8, and
// NULs, become U+FFFD, and what is longer than the limit is cut. An event of which anything was
// changed or dropped is marked.
func (s *scratch) polish(e *event.Event) {
	if s.dirty {
		s.polishAttributes(e)
	}
	if !s.dropped {
		return
	}
	e.Truncated = true
	for i := range e.Attrs {
		if e.Attrs[i].Name == event.TruncatedName {
			e.Attrs[i] = event.Attr{Name: event.TruncatedName, Value: true}
			return
		}
	}
	e.Attrs = append(e.Attrs, event.Attr{Name: event.TruncatedName, Value: true})
}

func (s *scratch) polishAttributes(e *event.Event) {
	e.Type = s.clean(e.Type)
	kept := e.Attrs[:0]
	for _, a := range e.Attrs {
		if name := s.clean(a.Name); name != a.Name {
			if _, taken := event.Find(e.Attrs, name); taken {
				continue
			}
			a.Name = name
		}
		kept = append(kept, event.AnyAttr(a.Name, s.cleanValue(a.Any())))
	}
	e.Attrs = kept
	for i := range e.Nulls {
		e.Nulls[i] = s.clean(e.Nulls[i])
	}
}

func (s *scratch) clean(text string) string {
	cleaned := checker.CleanText(text, s.limits.StringBytes)
	s.dropped = s.dropped || cleaned != text
	return cleaned
}

// cleanValue cleans v, in place where it can be.
func (s *scratch) cleanValue(v any) any {
	switch v := v.(type) {
	case string:
		return s.clean(v)
	case []any:
		for i := range v {
			v[i] = s.cleanValue(v[i])
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			item := s.cleanValue(v[name])
			cleaned := s.clean(name)
			if cleaned == name {
				v[name] = item
				continue
			}
			delete(v, name)
			if _, taken := v[cleaned]; !taken {
				v[cleaned] = item
			}
		}
	}
	return v
}

// quoteOf returns the quotation mark in which text stands whole, or 0.
func quoteOf(text string) byte {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "b'"); ok { // how Python prints bytes
		text = "'" + rest
	}
	if n := len(text); n >= 2 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		return text[0]
	}
	return 0
}

// unquote undoes what a serialiser did that quotes every value: where the event type is quoted, all
// text that is so is meant to be what is in the quotes.
func (s *scratch) unquote() {
	if !s.quoted {
		return
	}
	for i := range s.attrs {
		if text, ok := s.attrs[i].String(); ok {
			s.attrs[i] = event.TextAttr(s.attrs[i].Name, s.text(withoutQuotes(text)))
		}
	}
}

// withoutQuotes returns what is in the quotes in which text stands whole; other text as it is.
func withoutQuotes(text string) string {
	switch quoteOf(text) {
	case '"':
		if inner, ok := unquoted(text); ok {
			return inner
		}
	case '\'':
		inner := strings.TrimPrefix(strings.TrimSpace(text), "b")
		if inner = inner[1 : len(inner)-1]; !strings.ContainsAny(inner, `'\`) {
			return inner
		}
	}
	return text
}
