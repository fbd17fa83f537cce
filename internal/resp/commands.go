package resp

import "fmt"

// ReadGroup reads the reply of XREADGROUP for one stream. No entries and no error: none came.
func ReadGroup(raw []byte) ([]Entry, error) {
	r := NewReader(raw)
	streams, none, err := r.Array()
	switch {
	case err != nil:
		return nil, err
	case none:
		return nil, r.End()
	case streams != 1:
		return nil, fmt.Errorf("%w: %d streams", ErrMalformed, streams)
	}
	if err := r.Tuple(2); err != nil { // its name and entries
		return nil, err
	}
	if _, err := r.bulk(); err != nil {
		return nil, err
	}
	return r.lastEntries()
}

// Range reads the reply of XRANGE.
func Range(raw []byte) ([]Entry, error) { return NewReader(raw).lastEntries() }

// lastEntries reads entries, none of them null, that end the reply.
func (r *Reader) lastEntries() ([]Entry, error) {
	entries, absent, err := r.Entries()
	if err == nil && absent > 0 {
		err = fmt.Errorf("%w: %d absent entries", ErrMalformed, absent)
	}
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Claimed is what XAUTOCLAIM replied.
type Claimed struct {
	Cursor  string   // where the next page starts; "0-0" after the last
	Entries []Entry  // now owned by the consumer that claimed them
	Deleted []string // trimmed while pending; Redis has dropped them from the pending list
	Absent  int      // trimmed while pending, but Redis 6.2 does not say which; still pending
}

// AutoClaim reads the reply of XAUTOCLAIM.
func AutoClaim(raw []byte) (Claimed, error) {
	r := NewReader(raw)
	n, _, err := r.Array()
	if err == nil && n < 2 {
		err = fmt.Errorf("%w: a claim of %d parts", ErrMalformed, n)
	}
	var c Claimed
	if err == nil {
		c.Cursor, err = r.Text()
	}
	if err == nil {
		c.Entries, c.Absent, err = r.Entries()
	}
	if err == nil && n > 2 { // not in Redis 6.2
		c.Deleted, err = r.Texts()
	}
	if err == nil && n <= 3 { // what a later Redis adds is passed over
		err = r.End()
	}
	if err != nil {
		return Claimed{}, err
	}
	return c, nil
}

// CountAndEntries reads the reply of a script that returns a count and a list of entries.
func CountAndEntries(raw []byte) (int, []Entry, error) {
	r := NewReader(raw)
	if err := r.Tuple(2); err != nil {
		return 0, nil, err
	}
	count, err := r.Count()
	if err != nil {
		return 0, nil, err
	}
	entries, err := r.lastEntries()
	return count, entries, err
}
