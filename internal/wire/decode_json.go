package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wardstream/wardstream/internal/event"
)

// tokens reads JSON tokens from a string. Strings without escapes and numbers
// are parts of that string, nothing is copied.
//
// jsontext checks the grammar to the letter and keeps no tree, so depth and size
// are bounded by who asks for the next token. It is told to let duplicate names
// pass because they are looked for here, and lone surrogates (written as escapes;
// the bytes are known to be UTF-8) become U+FFFD, as in encoding/json.
type tokens struct {
	src   string
	buf   bytes.Buffer
	dec   *jsontext.Decoder
	opts  []jsontext.Options
	start int // where the last string or number starts in src
}

func newTokens() *tokens {
	t := &tokens{opts: []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}}
	t.dec = jsontext.NewDecoder(&t.buf, t.opts...)
	return t
}

// from starts reading src.
func (t *tokens) from(src string) {
	t.src = src
	t.buf.Reset()
	t.buf.WriteString(src)
	t.dec.Reset(&t.buf, t.opts...)
}

// keptBuffer is the largest buffer kept for the next entry.
const keptBuffer = 64 << 10

// release lets go of the last source.
func (t *tokens) release() {
	t.src = ""
	if t.buf.Cap() > keptBuffer {
		t.buf = bytes.Buffer{}
	}
}

// next reads a token.
func (t *tokens) next() (jsontext.Token, error) {
	t.start = int(t.dec.InputOffset())
	tok, err := t.dec.ReadToken()
	if err != nil {
		return tok, malformed(NotJSON, "the JSON is not well-formed")
	}
	return tok, nil
}

// raw returns the text of tok, the string or number just read, with its quotes.
func (t *tokens) raw() string {
	i, end := t.start, int(t.dec.InputOffset())
	for i < end {
		switch t.src[i] {
		case ' ', '\t', '\r', '\n', ',', ':':
			i++
			continue
		}
		break
	}
	return t.src[i:end]
}

// str returns the value of tok, the string just read.
func (t *tokens) str(tok jsontext.Token) (string, error) {
	raw := t.raw()
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	s := tok.String()
	if strings.IndexByte(s, 0) >= 0 {
		return "", malformed(NUL, "a string holds a NUL")
	}
	return s, nil
}

// end makes sure that nothing follows the value just read.
func (t *tokens) end() error {
	if _, err := t.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return malformed(NotJSON, "something follows the JSON value")
	}
	return nil
}

// value reads a value in which at most depth objects and lists may lie within one another.
func (s *scratch) value(depth int) (any, error) {
	tok, err := s.json.next()
	if err != nil {
		return nil, err
	}
	if err := s.count(); err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case jsontext.KindString:
		v, err := s.json.str(tok)
		return cut(v, s.limits.StringBytes), err
	case jsontext.KindNumber:
		return s.number()
	case jsontext.KindTrue, jsontext.KindFalse:
		return tok.Bool(), nil
	case jsontext.KindBeginObject:
		return s.object(depth - 1)
	case jsontext.KindBeginArray:
		return s.list(depth - 1)
	}
	return nil, nil
}

func (s *scratch) number() (any, error) {
	raw := s.json.raw()
	if len(raw) > s.limits.StringBytes {
		return nil, malformed(Oversized, "a number is longer than the limit")
	}
	return event.Number(raw), nil
}

// object reads the rest of an object. Two members of one name are refused:
// which of them counts differs between parsers, and that is a way past rules.
func (s *scratch) object(depth int) (any, error) {
	if depth < 0 {
		return nil, malformed(TooDeep, "a value is nested deeper than the limit")
	}
	m := map[string]any{}
	for s.json.dec.PeekKind() == jsontext.KindString {
		name, err := s.name()
		if err != nil {
			return nil, err
		}
		if _, dup := m[name]; dup {
			return nil, malformed(Duplicate, "an object has two members of one name")
		}
		if m[name], err = s.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := s.json.next()
	return m, err
}

// name reads a member's name.
func (s *scratch) name() (string, error) {
	tok, err := s.json.next()
	if err != nil {
		return "", err
	}
	name, err := s.json.str(tok)
	if err == nil && len(name) > s.limits.StringBytes {
		err = malformed(Oversized, "a member's name is longer than the limit")
	}
	return name, err
}

// list reads the rest of a list.
func (s *scratch) list(depth int) (any, error) {
	if depth < 0 {
		return nil, malformed(TooDeep, "a value is nested deeper than the limit")
	}
	items := []any{}
	for {
		switch s.json.dec.PeekKind() {
		case jsontext.KindEndArray, jsontext.KindInvalid:
			_, err := s.json.next()
			return items, err
		}
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
}

// members reads the rest of an object into attributes.
func (s *scratch) members(to *[]event.Attr) error {
	for s.json.dec.PeekKind() == jsontext.KindString {
		name, err := s.name()
		if err != nil {
			return err
		}
		v, err := s.value(s.limits.Depth)
		if err == nil {
			err = s.member(to, name, v)
		}
		if err != nil {
			return err
		}
	}
	_, err := s.json.next()
	return err
}

// member adds a member to attributes, whose names are unique. Nulls stand among
// them until the event's attributes are put together.
func (s *scratch) member(to *[]event.Attr, name string, v any) error {
	if _, dup := event.Find(*to, name); dup {
		return malformed(Duplicate, "an object has two members of one name")
	}
	return s.add(to, name, v)
}

// embedded reads the JSON value that a flat field holds.
func (s *scratch) embedded(text string) (any, error) {
	s.json.from(text)
	v, err := s.value(s.limits.Depth)
	if err == nil {
		return v, s.json.end()
	}
	if m := (*Malformed)(nil); errors.As(err, &m) && m.Class != NotJSON && !s.json.wellFormed() {
		return nil, malformed(NotJSON, "the JSON is not well-formed")
	}
	return nil, err
}

// wellFormed reads on to the end and reports whether the JSON was well-formed
// so far as its depth can be followed.
func (t *tokens) wellFormed() bool {
	for {
		_, err := t.dec.ReadToken()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return true
		default:
			return t.dec.StackDepth() >= jsonDepth
		}
	}
}

// jsonDepth is the depth at which jsontext gives up.
const jsonDepth = 10000
