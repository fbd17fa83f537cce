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
// jsontext checks the grammar to the letter and keeps no tree, so depth and size are bounded by the
// caller. It is configured to let duplicate names pass because they are looked for here, and bytes
// that are not UTF-8 because they are cleaned once it is known who they stand for.
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

// errNesting is returned for JSON that nests deeper than can be read.
var errNesting = errors.New("the JSON nests deeper than can be read")

// jsonDepth is the depth at which jsontext gives up.
const jsonDepth = 10000

// next reads a token.
func (t *tokens) next() (jsontext.Token, error) {
	t.start = int(t.dec.InputOffset())
	tok, err := t.dec.ReadToken()
	switch {
	case err == nil:
		return tok, nil
	case t.dec.StackDepth() >= jsonDepth:
		return tok, errNesting
	}
	return tok, malformed(NotJSON, "the JSON is not well-formed")
}

// leave reads to the end of the object or list whose beginning was read last.
func (t *tokens) leave() error {
	for around := t.dec.StackDepth(); t.dec.StackDepth() >= around; {
		if _, err := t.next(); err != nil {
			return err
		}
	}
	return nil
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

// end makes sure that nothing follows the value just read.
func (t *tokens) end() error {
	if _, err := t.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return malformed(NotJSON, "something follows the JSON value")
	}
	return nil
}

// str returns the value of tok, the string just read, as it was meant: with bytes that are not
// text, if it has any.
func (s *scratch) str(tok jsontext.Token) string {
	raw := s.json.raw()
	if strings.IndexByte(raw, '\\') < 0 {
		return s.text(raw[1 : len(raw)-1])
	}
	text := tok.String()
	if strings.IndexByte(text, 0) >= 0 || strings.Contains(text, "\ufffd") {
		s.dirty = true
		text = unescape(raw[1 : len(raw)-1])
	}
	return s.text(text)
}

// value reads a value in which at most depth objects and lists may lie within one another. It
// reports false for one that is dropped.
func (s *scratch) value(depth int) (v any, kept bool, err error) {
	var a event.Attr
	kept, err = s.attr(&a, depth)
	return a.Any(), kept, err
}

// attr is value for the value of a.
func (s *scratch) attr(a *event.Attr, depth int) (kept bool, err error) {
	tok, err := s.json.next()
	if err != nil {
		return false, err
	}
	kind := tok.Kind()
	composite := kind == jsontext.KindBeginObject || kind == jsontext.KindBeginArray
	size := 0
	if s.large && !composite {
		size = int(s.json.dec.InputOffset()) - s.json.start
	}
	if !s.admit(size) || composite && depth <= 0 {
		s.dropped = true
		if composite {
			err = s.json.leave()
		}
		return false, err
	}
	switch kind {
	case jsontext.KindString:
		a.SetText(s.str(tok))
	case jsontext.KindNumber:
		a.Value = event.Number(shortNumber(s.json.raw(), s.limits.StringBytes))
	case jsontext.KindTrue, jsontext.KindFalse:
		a.Value = tok.Bool()
	case jsontext.KindBeginObject:
		a.Value, err = s.object(depth - 1)
	case jsontext.KindBeginArray:
		a.Value, err = s.list(depth - 1)
	}
	return err == nil, err
}

// object reads the rest of an object.
func (s *scratch) object(depth int) (any, error) {
	m := map[string]any{}
	for s.json.dec.PeekKind() == jsontext.KindString {
		name, err := s.name()
		if err != nil {
			return nil, err
		}
		v, kept, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		switch old, dup := m[name]; {
		case !kept || len(name) > s.limits.StringBytes:
			s.dropped = true
		case !dup:
			m[name] = v
		case s.path[0] == "proxy_headers": // a header that comes twice is a list
			m[name] = append(asList(old), asList(v)...)
		default:
			s.repeated(strings.Join(s.path, "."), old, v)
		}
		s.path = s.path[:len(s.path)-1]
	}
	_, err := s.json.next()
	return m, err
}

func asList(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

// name reads a member's name and enters it.
func (s *scratch) name() (string, error) {
	tok, err := s.json.next()
	if err != nil {
		return "", err
	}
	name := s.str(tok)
	s.path = append(s.path, name)
	return name, nil
}

// list reads the rest of a list.
func (s *scratch) list(depth int) (any, error) {
	items := []any{}
	for {
		switch s.json.dec.PeekKind() {
		case jsontext.KindEndArray, jsontext.KindInvalid:
			_, err := s.json.next()
			return items, err
		}
		v, kept, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		if kept {
			items = append(items, v)
		}
	}
}

// members reads the rest of an object into attributes.
func (s *scratch) members(to *[]event.Attr) error {
	for s.json.dec.PeekKind() == jsontext.KindString {
		name, err := s.name()
		if err != nil {
			return err
		}
		if err := s.memberValue(to, name); err != nil {
			return err
		}
	}
	_, err := s.json.next()
	return err
}

// memberValue reads the value of the member whose name was entered, and leaves it.
func (s *scratch) memberValue(to *[]event.Attr, name string) error {
	s.allowance = allowance
	a := event.Attr{Name: name}
	kept, err := s.attr(&a, s.limits.Depth)
	s.path = s.path[:0]
	if err == nil && kept {
		s.member(to, &a)
	}
	return err
}

// member adds a member to attributes, whose names are unique. Nulls stand among
// them until the event's attributes are put together.
func (s *scratch) member(to *[]event.Attr, a *event.Attr) {
	if first, dup := event.Find(*to, a.Name); dup {
		s.repeated(a.Name, first, a.Any())
		return
	}
	s.add(to, a)
}
