package wire

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wardstream/wardstream/internal/event"
)

// A scratch is the memory one decoding needs; it is used again for others.
type scratch struct {
	limits   Limits
	deciding map[string][]string
	json     *tokens
	attrs    []event.Attr // what is to become the event's attributes
	nulls    []string
	inner    []event.Attr // members of the member "attributes" where that is an object
	otlp     []any        // the member "attributes" where that is a list
	path     []string     // the names around what is read

	values    int // values read so far, at all depths
	size      int // bytes kept so far, counted where the entry is large
	allowance int // values of this attribute that are read even so

	flat      bool       // no field holds the event
	large     bool       // the entry is over the limit of what is kept
	dirty     bool       // text has to be cleaned or cut
	dropped   bool       // something was left out or repaired
	quoted    bool       // the event type begins with a quotation mark
	batch     bool       // the document may be a batch of log records
	conflicts []conflict // attributes that must not be ambiguous and are
}

func newScratch(l Limits, deciding map[string][]string) *scratch {
	return &scratch{limits: l, deciding: deciding, json: newTokens()}
}

// clear lets go of what the last entry left.
func (s *scratch) clear() {
	s.restart()
	s.large, s.dirty, s.dropped = false, false, false
	s.json.release()
}

// restart forgets what was read, to read it in another form.
func (s *scratch) restart() {
	clear(s.attrs)
	clear(s.nulls)
	clear(s.inner)
	s.attrs, s.nulls, s.inner, s.otlp, s.path = s.attrs[:0], s.nulls[:0], s.inner[:0], nil, s.path[:0]
	s.values, s.size, s.allowance, s.quoted, s.batch, s.conflicts = 0, 0, 0, false, false, nil
}

// document returns the index of the value that is the whole event as JSON and its text, or
// -1 if the entry is flat. The field "event" that holds an object always is the
// event. "data" and "payload", or else "body", "message" and "value", hold other things too, such
// as what a client sent: they are the event only if it is one of them alone and the entry has no
// event_type or event_name of its own, so that a client's payload cannot pass for attributes.
func document(fields []string) (at int, text string) {
	typed := false
	var found, candidates [2]int // of either kind of name
	for i := 0; i+1 < len(fields); i += 2 {
		kind := 0
		switch fields[i] {
		case "event_type", "event_name", "event.name", "otel.event.name":
			typed = typed || strings.TrimSpace(fields[i+1]) != ""
			continue
		case "event":
			if text, ok := objectText(fields[i+1]); ok {
				return i + 1, text
			}
			continue
		case "data", "payload":
		case "body", "message", "value":
			kind = 1
		default:
			continue
		}
		if _, ok := objectText(fields[i+1]); ok {
			found[kind] = i + 1
			candidates[kind]++
		}
	}
	for kind := range found {
		switch {
		case typed || candidates[kind] > 1:
			return -1, ""
		case candidates[kind] == 1:
			text, _ := objectText(fields[found[kind]])
			return found[kind], text
		}
	}
	return -1, ""
}

// objectText returns the text of a value that is a JSON object by its beginning, or JSON text that
// holds one as a string, as is written by producers that serialise twice.
func objectText(text string) (string, bool) {
	for range maxQuoting {
		text = strings.TrimPrefix(text, byteOrderMark)
		if opens(text, '{') {
			return text, true
		}
		inner, ok := unquoted(text)
		if !ok {
			return "", false
		}
		text = inner
	}
	return "", false
}

const (
	byteOrderMark = "\ufeff"
	// maxQuoting is how many times one text may have been serialised.
	maxQuoting = 3
)

// unquoted returns the text that a JSON string stands for.
func unquoted(text string) (string, bool) {
	if !opens(text, '"') {
		return "", false
	}
	inner, err := jsontext.AppendUnquote(nil, strings.TrimSpace(text))
	return string(inner), err == nil
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
	doc, text := document(fields)
	if doc >= 0 {
		if err := s.wholeDocument(text); err != nil {
			return err
		}
	}
	own := len(s.attrs)
	for i := 0; i+1 < len(fields); i += 2 {
		switch {
		case i+1 == doc:
		case doc >= 0 && fields[i] == fields[doc-1]:
			if fields[i+1] != fields[doc] {
				return malformed(Duplicate, "two fields hold the event, and not the same one")
			}
			s.dropped = true
		default:
			s.field(fields[i], fields[i+1], own)
		}
	}
	s.flat = doc < 0
	s.unquote()
	return nil
}

// field adds a field of the entry, unless it is among the attrs[:own] that the
// JSON object gave.
func (s *scratch) field(name, text string, own int) {
	for i := range s.attrs {
		switch {
		case s.attrs[i].Name != name:
		case i < own:
			return
		default:
			a := s.fieldAttr(name, text)
			s.repeated(name, s.attrs[i].Any(), a.Any())
			return
		}
	}
	a := s.fieldAttr(name, text)
	s.add(&s.attrs, &a)
}

// fieldAttr is the attribute of a flat field: what parses whole as a JSON array
// or object is one, everything else is a string.
func (s *scratch) fieldAttr(name, text string) event.Attr {
	s.allowance = allowance
	if (opens(text, '{') || opens(text, '[')) && !event.IsText(name) {
		if v, ok := s.embedded(name, text); ok {
			return event.AnyAttr(name, v)
		}
	}
	if s.values++; s.large {
		s.size += min(len(text), s.limits.StringBytes)
	}
	return event.TextAttr(name, s.text(text))
}

// embedded reads the JSON value that the attribute name holds as text. It reports false, and leaves
// no trace, where it is not JSON.
func (s *scratch) embedded(name, text string) (v any, ok bool) {
	if len(text) > s.limits.EntryBytes {
		return nil, false
	}
	before := *s
	try := func(text string) (err error) {
		s.path = append(s.path[:0], name)
		s.json.from(text)
		if v, _, err = s.value(s.limits.Depth); err == nil {
			err = s.json.end()
		}
		s.path = s.path[:0]
		return err
	}
	err := try(text)
	if errors.Is(err, errNesting) {
		err = try(flatten(text, s.deepest()))
		s.dropped = true
	}
	if err != nil {
		if fixed, changed := repair(text); changed {
			*s = before
			err = try(fixed)
			s.dropped = true
		}
	}
	if err != nil {
		*s = before
		return nil, false
	}
	return v, true
}

// serialised reads the document that an attribute, or its member body, holds as text: it says the
// same as if it were there itself.
func (s *scratch) serialised(a *event.Attr) {
	switch v := a.Any().(type) {
	case string:
		if opens(v, '{') || opens(v, '[') || opens(v, '"') {
			*a = event.AnyAttr(a.Name, s.serialisedText(a.Name, v))
		}
	case map[string]any:
		if text, ok := v["body"].(string); ok && a.Name == "request" {
			v["body"] = s.serialisedText("request.body", text)
		}
	}
}

func (s *scratch) serialisedText(name, text string) any {
	inner := text
	for range maxQuoting {
		if opens(inner, '{') || opens(inner, '[') {
			if v, ok := s.embedded(name, inner); ok {
				return v
			}
			break
		}
		var ok bool
		if inner, ok = unquoted(inner); !ok {
			break
		}
	}
	return text
}

// text counts a string, and notes if it is to be cut.
func (s *scratch) text(v string) string {
	s.dirty = s.dirty || len(v) > s.limits.StringBytes
	return v
}

// add appends an attribute whose name is known to be new. What is over a limit is dropped, unless
// it says what happened to whom.
func (s *scratch) add(to *[]event.Attr, a *event.Attr) {
	name := a.Name
	if len(name) > s.limits.StringBytes || (len(*to) >= s.limits.Attributes || s.full()) && !s.keep(name) {
		s.dropped = true
		return
	}
	if name == "event_type" || name == "event_name" {
		text, _ := a.String()
		s.quoted = s.quoted || quoteOf(text) != 0
	}
	*to = append(*to, *a)
}
