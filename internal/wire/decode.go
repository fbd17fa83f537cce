package wire

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
)

// Limits bound what one entry may hold. What is over a limit is cut or dropped, the event is
// marked, and the rest counts; only an entry of far more than EntryBytes is malformed. A zero field
// means its default.
type Limits struct {
	EntryBytes  int // bytes of names and values that are kept; 262,144. Entries of up to four times that are read
	Attributes  int // attributes, nested ones not counted, nor those that say what happened to whom; 128
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

// readBytes is the size of the largest entry that is read: a string in it that is far too long is
// cut, and must not hide the rest.
func (l Limits) readBytes() int { return max(l.EntryBytes, min(4*l.EntryBytes, 16<<20)) }

// A ScopeSpec is a scope that the operator added: its value is the first of
// Attributes that is neither blank nor a placeholder. Block says whether it may be blocked or only
// counted.
type ScopeSpec struct {
	Name       string
	Attributes []string
	Block      bool
}

// A Comparison says that a rule compares an attribute of events of a type. An event in which that
// attribute is ambiguous is malformed. Type "" is every type.
type Comparison struct {
	Type, Attribute string
}

// DecoderOptions say how entries are decoded; the zero value is the default.
type DecoderOptions struct {
	Limits Limits
	// Scopes are the operator's scopes, besides ip, user, username, session and route.
	Scopes []ScopeSpec
	// IPv6Prefix makes one scope of all addresses with these many bits in
	// common; 0 and 128 keep addresses apart.
	IPv6Prefix int
	// IPv6Port says what the last group of 2001:db8::7:9985 is, which may be part of the address or
	// a port.
	IPv6Port IPv6Port
	// OwnTime takes an event's time from its own timestamp instead of from the entry ID. An event
	// whose timestamp can't be read is malformed then; one without keeps the entry's time, marked
	// Untimed.
	OwnTime bool
	// Placeholders are texts that are neither a scope's value nor an event_id; nil means
	// [event.DefaultPlaceholders].
	Placeholders []string
	// Comparisons are what rules compare.
	Comparisons []Comparison
}

// A Decoder turns stream entries into events. It does no I/O and reads no
// clock: the same entry always gives the same event or the same error. It is
// safe for concurrent use.
type Decoder struct {
	opts         DecoderOptions
	placeholders *event.Placeholders
	deciding     map[string][]string // attributes that must not be ambiguous, and for which types; nil: for all
	scratch      sync.Pool           // of *scratch
}

// NewDecoder returns a Decoder.
func NewDecoder(o DecoderOptions) *Decoder {
	o.Limits = o.Limits.orDefaults()
	if o.Placeholders == nil {
		o.Placeholders = event.DefaultPlaceholders()
	}
	d := &Decoder{opts: o, placeholders: event.NewPlaceholders(o.Placeholders), deciding: deciding(o)}
	d.scratch.New = func() any { return newScratch(o.Limits, d.deciding) }
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
	s, _ := d.scratch.Get().(*scratch)
	defer d.scratch.Put(s)
	defer s.clear()
	if err := d.check(s, fields); err != nil {
		return event.Event{}, err
	}
	if err := s.read(fields); err != nil {
		return event.Event{}, err
	}
	var conflict bool
	s.attrs, conflict = event.Canonicalize(s.attrs, d.placeholders)

	e := event.Event{Stream: stream, ID: id, Time: at, Member: id}
	e.Attrs = append(make([]event.Attr, 0, len(s.attrs)), s.attrs...)
	if len(s.nulls) > 0 {
		e.Nulls = append([]string(nil), s.nulls...)
	}
	if err := d.finish(&e, s, fields); err != nil {
		return event.Event{}, err
	}
	e.AddressConflict = conflict && d.conflict(e.Attrs)
	s.polish(&e)
	return e, nil
}

// check rejects entries that cannot be decoded, and notes which contain invalid UTF-8.
func (d *Decoder) check(s *scratch, fields []string) error {
	if len(fields) == 0 || len(fields)%2 != 0 {
		return malformed(Empty, "the entry has no fields")
	}
	size := 0
	for _, text := range fields {
		size += len(text)
	}
	if size > d.opts.Limits.readBytes() {
		return malformed(Oversized, "the entry is larger than the limit")
	}
	s.large = size > d.opts.Limits.EntryBytes
	for _, text := range fields {
		if !plainASCII(text) && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
			s.dirty = true
			break
		}
	}
	return nil
}

// plainASCII reports whether text is ASCII without NUL, as nearly all is, eight bytes at a time.
func plainASCII(text string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		v := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		if (v|(v-ones))&tops != 0 { // a byte of 0x80 or more, or one that borrows: NUL
			return false
		}
	}
	for i := range len(text) {
		if text[i] == 0 || text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// finish derives what an event has besides attributes.
func (d *Decoder) finish(e *event.Event, s *scratch, fields []string) error {
	var m wellKnown
	m.find(e.Attrs)
	if e.Type = m.eventType(e); e.Type == "" {
		if s.flat {
			if err := explain(fields); err != nil {
				return err
			}
		}
		return malformed(NoEventType, untyped(e.Attrs))
	}
	if !utf8.ValidString(e.Type) || strings.IndexByte(e.Type, 0) >= 0 {
		return malformed(NoEventType, "the event type is not UTF-8 text")
	}
	for _, i := range m.documents {
		if i > 0 {
			s.serialised(&e.Attrs[i-1])
		}
	}
	if err := s.ambiguity(e.Type); err != nil {
		return err
	}
	if id, ok := m.id.Scalar(); ok && strings.TrimSpace(id) != "" && !d.placeholders.HoldsID(id) {
		e.Member = member(id)
	}
	e.TraceParent = m.traceParent()
	if d.opts.OwnTime {
		if err := m.date(e); err != nil {
			return err
		}
	}
	e.Scopes = d.scopesOf(e, &m)
	return nil
}

// member is a producer's ID of an event as a member of windows.
func member(id string) string {
	if utf8.ValidString(id) {
		return rediskey.Value(id)
	}
	return rediskey.Hash(id)
}

// Filtered reports whether events of this type are skipped before any rule
// sees them, so that what Wardstream emits can never feed it.
func Filtered(eventType string) bool {
	rest, ok := strings.CutPrefix(eventType, "audit.")
	return ok && (strings.HasPrefix(rest, "enforcement.") ||
		strings.HasPrefix(rest, "rule.") || strings.HasPrefix(rest, "context."))
}
