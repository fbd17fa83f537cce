package window

import "math/rand/v2"

// A Marker is the first record of a compacted log. It adds no member, and says what the clears were
// that the compaction removed from the log: they are in the window's Clears, or forgotten.
type Marker struct {
	// Newest is the time of the newest clear that was ever in the log, in milliseconds; 0 if there
	// was none.
	Newest int64
	// Floor is the time up to which clears may have been forgotten; see Clears.Floor.
	Floor int64
}

// Append appends the marker, encoded as a Record and made unique by 32 random bits, to b. A log
// that still starts with it has not been compacted since.
func (m Marker) Append(b []byte) []byte {
	nonce := rand.Uint32()
	r := Record{
		Tag:    uint64(m.Newest)<<16 | uint64(nonce>>16),   //nolint:gosec // 48 bits, as in Record
		Member: uint64(m.Floor)<<16 | uint64(nonce&0xffff), //nolint:gosec // likewise
	}
	return r.Append(b)
}

// LogMarker returns the marker that an encoded log starts with; the zero Marker if it has none.
func LogMarker(log string) Marker {
	if len(log) < RecordSize {
		return Marker{}
	}
	r := decode(log[:RecordSize])
	if !r.isMarker() {
		return Marker{}
	}
	return Marker{Newest: int64(r.Tag >> 16), Floor: int64(r.Member >> 16)}
}

// isMarker reports whether r is a Marker: no member or clear has the time 0.
func (r Record) isMarker() bool { return r.At == 0 }
