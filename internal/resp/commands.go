package resp

import "fmt"

// ReadGroup reads the reply of XREADGROUP for one stream. No entries and no error: none came.
func ReadGroup(raw []byte) ([]Entry, error) {
	r := reader{buf: raw}
	streams, none, err := r.array()
	switch {
	case err != nil:
		return nil, err
	case none:
		return nil, r.end()
	case streams != 1:
		return nil, fmt.Errorf("%w: %d streams", ErrMalformed, streams)
	}
	if err := r.tuple(2); err != nil { // its name and entries
		return nil, err
	}
	if _, err := r.bulk(); err != nil {
		return nil, err
	}
	return r.lastEntries()
}

// Range reads the reply of XRANGE.
func Range(raw []byte) ([]Entry, error) {
	r := reader{buf: raw}
	return r.lastEntries()
}

// lastEntries reads entries, none of them null, that end the reply.
func (r *reader) lastEntries() ([]Entry, error) {
	entries, absent, err := r.entries()
	if err == nil && absent > 0 {
		err = fmt.Errorf("%w: %d absent entries", ErrMalformed, absent)
	}
	if err == nil {
		err = r.end()
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
	r := reader{buf: raw}
	n, _, err := r.array()
	if err == nil && n < 2 {
		err = fmt.Errorf("%w: a claim of %d parts", ErrMalformed, n)
	}
	var c Claimed
	if err == nil {
		c.Cursor, err = r.text()
	}
	if err == nil {
		c.Entries, c.Absent, err = r.entries()
	}
	if err == nil && n > 2 { // not in Redis 6.2
		c.Deleted, err = r.texts()
	}
	if err == nil && n <= 3 { // what a later Redis adds is passed over
		err = r.end()
	}
	if err != nil {
		return Claimed{}, err
	}
	return c, nil
}

// CountAndEntries reads the reply of a script that returns a count and a list of entries.
func CountAndEntries(raw []byte) (int, []Entry, error) {
	r := reader{buf: raw}
	if err := r.tuple(2); err != nil {
		return 0, nil, err
	}
	count, err := r.count()
	if err != nil {
		return 0, nil, err
	}
	entries, err := r.lastEntries()
	return count, entries, err
}
