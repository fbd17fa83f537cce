package resp

import (
	"errors"
	"fmt"
)

// An Entry is one of a stream. Reading it takes two allocations: one string that its ID and its
// fields are parts of, and the slice of its fields. So keeping one entry does not keep the reply it
// came with.
type Entry struct {
	ID     string
	Fields []string // names and values in turn; nil if the entry has been trimmed while pending
}

// entries reads an array of entries and counts the nulls among them. A null array is malformed.
func (r *reader) entries() (entries []Entry, absent int, err error) {
	n, null, err := r.array()
	if err != nil || null {
		return nil, 0, errors.Join(ErrMalformed, err)
	}
	there := 0
	entries = make([]Entry, n)
	for range n {
		if r.null() {
			absent++
			continue
		}
		if err := r.entry(&entries[there]); err != nil {
			return nil, 0, err
		}
		there++
	}
	return entries[:there], absent, nil
}

// entry reads [id, [name, value, …]] or [id, null].
func (r *reader) entry(e *Entry) error {
	if err := r.tuple(2); err != nil {
		return err
	}
	start := r.pos
	id, err := r.bulk()
	if err != nil {
		return err
	}
	if r.null() {
		e.ID = string(r.buf[id.start:id.end])
		return nil
	}
	n, _, err := r.array()
	if err != nil {
		return err
	}
	if n%2 != 0 {
		return fmt.Errorf("%w: %d names and values", ErrMalformed, n)
	}
	r.spans = r.spans[:0]
	for range n {
		s, err := r.bulk()
		if err != nil {
			return err
		}
		r.spans = append(r.spans, s)
	}
	text := string(r.buf[start:r.pos])
	e.ID = text[id.start-start : id.end-start]
	e.Fields = make([]string, n)
	for i, s := range r.spans {
		e.Fields[i] = text[s.start-start : s.end-start]
	}
	return nil
}
