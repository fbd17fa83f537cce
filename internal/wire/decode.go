package wire

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/event"
)

// Limits bound what one entry may hold. An entry over a limit is malformed,
// but for StringBytes: longer strings are cut. A zero field means its default.
type Limits struct {
	EntryBytes  int // bytes of all field names and values; 262,144
	Attributes  int // attributes, nested ones not counted; 128
	Depth       int // objects and lists within one another in an attribute's value; 8
	StringBytes int // bytes of a string that are kept, cut at a rune's start; 4,096
	Values      int // values at all depths, which bounds the memory of a decoded entry; 4,096
}

// DefaultLimits returns the limits that hold unless configured otherwise.
func DefaultLimits() Limits {
	return Limits{EntryBytes: 256 << 10, Attributes: 128, Depth: 8, StringBytes: 4096, Values: 4096}
}

func (l Limits) orDefaults() Limits {
	def := DefaultLimits()
	for _, f := range []struct{ have, def *int }{
		{&l.EntryBytes, &def.EntryBytes},
		{&l.Attributes, &def.Attributes},
		{&l.Depth, &def.Depth},
		{&l.StringBytes, &def.StringBytes},
		{&l.Values, &def.Values},
	} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	return l
}

// A ScopeSpec is a scope that the operator added: its value is the first of
// Attributes that is not blank. Block says whether it may be blocked or only
// counted.
type ScopeSpec struct {
	Name       string
	Attributes []string
	Block      bool
}

// DecoderOptions say how entries are decoded; the zero value is the default.
type DecoderOptions struct {
	Limits Limits
	// Scopes are the operator's scopes, besides ip, user, username, session and route.
	Scopes []ScopeSpec
	// IPv6Prefix makes one scope of all addresses with these many bits in
	// common; 0 and 128 keep addresses apart.
	IPv6Prefix int
	// OwnTime takes an event's time from its own timestamp where it has one,
	// instead of from the entry ID.
	OwnTime bool
}

// A Decoder turns stream entries into events. It does no I/O and reads no
// clock: the same entry always gives the same event or the same error. It is
// safe for concurrent use.
type Decoder struct {
	opts    DecoderOptions
	scratch sync.Pool // of *scratch
}

// NewDecoder returns a Decoder.
func NewDecoder(o DecoderOptions) *Decoder {
	o.Limits = o.Limits.orDefaults()
	d := &Decoder{opts: o}
	d.scratch.New = func() any { return newScratch(o.Limits) }
	return d
}

// Decode decodes the entry id of stream, whose fields alternate names and
// values. The error is a *[Malformed]. Strings of the event share memory with
// fields.
func (d *Decoder) Decode(stream, id string, fields []string) (event.Event, error) {
	at, ok := EntryTime(id)
	if !ok {
		return event.Event{}, malformed(BadID, "the entry ID is not of the form milliseconds-sequence")
	}
	if err := d.check(fields); err != nil {
		return event.Event{}, err
	}
	s, _ := d.scratch.Get().(*scratch)
	defer d.scratch.Put(s)
	defer s.clear()
	if err := s.read(fields); err != nil {
		return event.Event{}, err
	}
	s.attrs = event.Canonicalize(s.attrs)

	e := event.Event{Stream: stream, ID: id, Time: at, Member: id}
	e.Attrs = append(make([]event.Attr, 0, len(s.attrs)), s.attrs...)
	if len(s.nulls) > 0 {
		e.Nulls = append([]string(nil), s.nulls...)
	}
	if err := d.finish(&e); err != nil {
		return event.Event{}, err
	}
	return e, nil
}

// check refuses entries that are not worth reading: the limits of the whole
// entry, text that is no text.
func (d *Decoder) check(fields []string) error {
	if len(fields) == 0 || len(fields)%2 != 0 {
		return malformed(Empty, "the entry has no fields")
	}
	size := 0
	for _, text := range fields {
		size += len(text)
	}
	if size > d.opts.Limits.EntryBytes {
		return malformed(Oversized, "the entry is larger than the limit")
	}
	for _, text := range fields {
		if strings.IndexByte(text, 0) >= 0 {
			return malformed(NUL, "a field holds a NUL")
		}
		if !utf8.ValidString(text) {
			return malformed(NotUTF8, "a field is not UTF-8")
		}
	}
	return nil
}

// finish derives what an event has besides attributes.
func (d *Decoder) finish(e *event.Event) error {
	var m marks
	m.find(e.Attrs)
	if e.Type = m.eventType(); e.Type == "" {
		return malformed(NoEventType, "the entry has neither event_type nor event_name")
	}
	if id, ok := event.Text(m.id); ok && strings.TrimSpace(id) != "" {
		e.Member = keyValue(id)
	}
	e.TraceParent = m.traceParent()
	if d.opts.OwnTime {
		if at, ok := ownTime(m.timestamp); ok {
			e.Time = at
		}
	}
	e.Scopes = d.scopesOf(e, &m)
	return nil
}

// Filtered reports whether events of this type are skipped before any rule
// sees them, so that what Wardstream emits can never feed it.
func Filtered(eventType string) bool {
	rest, ok := strings.CutPrefix(eventType, "audit.")
	return ok && (strings.HasPrefix(rest, "enforcement.") ||
		strings.HasPrefix(rest, "rule.") || strings.HasPrefix(rest, "context."))
}

// cut returns the first n bytes of s, or fewer where a rune would be split.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
