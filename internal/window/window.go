// Package window is the algebra of Wardstream's counting: sliding windows of
// distinct members that come out the same however often, and in whatever order,
// an entry is delivered.
//
// A window's state is a log of records, and an operation only ever adds a
// record, so operations commute and repeating one changes nothing. What is
// judged is computed from the records. Members are not dropped by the clock of
// whichever event happens to arrive but by capacity (Spec.Capacity), so an
// entry that comes late still counts rightly, memory is bounded, and a count
// saturates above the threshold.
//
// A clear takes members out, those that are yet to arrive included. The log
// only carries it to the members that are there already; beside the log each
// window keeps the newest clear of every tag (Clears), so that a clear is not
// forgotten while a member that it takes out may still come, however many
// clears of other tags there were.
package window

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// A Spec says what one kind of window counts. It is read-only once in use.
type Spec struct {
	// Name starts the key: the rule's name.
	Name string
	// Threshold is the highest count somebody acts on; it sizes the window.
	Threshold int
	// Length is the time within which members must lie to count together.
	Length time.Duration
	// Lateness is how late an entry may be handled and still be counted
	// rightly. A claimed entry is late.
	Lateness time.Duration
	// Latest makes a member that comes again move to its latest time (windows
	// of distinct values); otherwise it stays at its first (windows of events).
	Latest bool
	// MaxClears is how many tags a window remembers the newest clear of; 0 means
	// DefaultMaxClears, NeverCleared that no clear ever comes, which spares the store
	// from looking for one.
	MaxClears int
	// RareTags says that most clears are of a tag that no member has in any window of the spec:
	// a store may leave those out.
	RareTags bool
	// ClearsAll says that clears of every member, those without a Tag, come as well.
	ClearsAll bool
	// Variant tells apart specs that differ in a rule's other parameters.
	Variant string
}

// DefaultMaxClears is how many tags a window remembers the newest clear of
// unless its Spec says otherwise. It is above the number of people that share
// one address; in Redis a window that reaches it takes some 2 MB.
const DefaultMaxClears = 16_384

// NeverCleared is the MaxClears of windows that no clear comes to.
const NeverCleared = -1

// KeepsClears reports whether clears come to windows of the spec.
func (s *Spec) KeepsClears() bool { return s.MaxClears >= 0 }

// clearable reports whether a clear can take out members of the tag.
func (s *Spec) clearable(tag uint64) bool { return s.KeepsClears() && (tag != 0 || s.ClearsAll) }

// ClearLimit is how many tags a window remembers the newest clear of.
func (s *Spec) ClearLimit() int { return cmp.Or(max(s.MaxClears, 0), DefaultMaxClears) }

// outageBudget is how much longer than its length and lateness a window is
// kept, so that workers that were away find it when they are back.
const outageBudget = 10 * time.Minute

// spareCount is how far above the threshold counts stay exact at least.
const spareCount = 8

// Capacity is how many members a window keeps: (k-1)·⌈(w+L)/w⌉+1 of them hold
// every run of k within a length w, for entries up to L late; a few more keep
// the counts just above the threshold exact. Counts saturate there.
func (s *Spec) Capacity() int {
	k := max(s.Threshold, 1)
	spans := int((s.Length + s.Lateness + s.Length - 1) / max(s.Length, 1))
	return max((k-1)*spans+1, k+spareCount)
}

// TTL is how long a window is kept after its last change.
func (s *Spec) TTL() time.Duration { return s.Length + s.Lateness + outageBudget }

// layout is the version of what the keys hold: workers that keep clears in the
// log alone and workers that keep them beside it must not share windows.
const layout = 2

// ID names the spec in keys: its name and a hash of everything that gives the
// records their meaning, so that a rolling deploy never mixes two meanings.
func (s *Spec) ID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d|%d|%d|%d|%t|%s", layout, s.Threshold, s.Length, s.Lateness, s.Latest, s.Variant))
	return s.Name + ":" + hex.EncodeToString(sum[:8])
}

// A Kind says what an operation does.
type Kind uint8

const (
	// Add puts Member into the window at Time. Its count is the most members,
	// this one among them, that lie within one Length of time.
	Add Kind = iota
	// Read changes nothing. Its count is the members in (Time-Length, Time].
	Read
	// Clear takes out the members of Tag at or before Time, those that are yet
	// to arrive included; Tag "" means every member. Its count is zero.
	Clear
)

// ErrNeverCleared is returned for a clear that the window's Spec rules out.
var ErrNeverCleared = errors.New("clear of a window that is never cleared so")

// An Op is one operation on the window that Spec keeps for Group.
type Op struct {
	Spec   *Spec
	Group  string // what is counted for, such as an address
	Kind   Kind
	Time   time.Time // to the millisecond
	Member string
	Tag    string
	// Threshold is the size that the operation is judged by; 0 means the Spec's. It
	// changes nothing but the Count's Since.
	Threshold int
}

// A Count is what an operation finds in its window.
type Count struct {
	// Size is the number of members.
	Size int
	// Since is where the evidence begins: the time of the oldest of the newest members
	// that suffice for the threshold; the zero time below the threshold. A match
	// whose evidence begins before its scope was unblocked is no reason to block again.
	Since time.Time
}

// Marginal reports whether c, which op has found, reaches the threshold by so little that a few clears
// that are yet to be handled could undo it.
func (op *Op) Marginal(c Count) bool {
	return op.Kind != Clear && op.Spec.KeepsClears() && !c.Since.IsZero() && c.Size < cmp.Or(op.Threshold, op.Spec.Threshold)+spareCount
}

// Sizes returns the sizes of counts.
func Sizes(counts []Count) []int {
	sizes := make([]int, len(counts))
	for i, c := range counts {
		sizes[i] = c.Size
	}
	return sizes
}

// A Store keeps windows. Apply carries out a batch's operations in their order
// and returns one count for each: what the operation would have returned had
// they come one by one. It is safe for concurrent use; after an error any part
// of the batch may have been applied, and applying it again is harmless.
//
// Recount returns what operations that were applied before count now, by all that is known of the members
// and of the clears up to each operation's own time: a clear from after an operation takes nothing back that
// the operation has found, unless it has already been carried out for good. It changes nothing.
type Store interface {
	Apply(ctx context.Context, ops []Op) ([]Count, error)
	Recount(ctx context.Context, ops []Op) ([]Count, error)
}

// A Record is one fact in a window's log: a member, or a clear.
type Record struct {
	At     int64 // milliseconds since 1970
	Tag    uint64
	Member uint64 // clearMember for a clear
}

// RecordSize is the length of an encoded Record in bytes: six of time, eight of tag, eight of
// member, all big-endian.
const RecordSize = 22

const clearMember = ^uint64(0)

// record returns what op adds to the log; false for a Read.
func (op *Op) record() (Record, bool) {
	r := Record{At: op.Time.UnixMilli(), Tag: hash(op.Tag), Member: clearMember}
	switch op.Kind {
	case Add:
		r.Member = hash(op.Member)
	case Read:
		return Record{}, false
	case Clear:
	}
	return r, true
}

// Append appends the encoded record to b.
func (r Record) Append(b []byte) []byte {
	b = append(b, byte(r.At>>40), byte(r.At>>32))      //nolint:gosec // 48 bits of milliseconds reach the year 10889
	b = binary.BigEndian.AppendUint32(b, uint32(r.At)) //nolint:gosec // the low 32 bits are meant
	b = binary.BigEndian.AppendUint64(b, r.Tag)
	return binary.BigEndian.AppendUint64(b, r.Member)
}

// Marker returns an encoded record that is unlike any other and says nothing:
// who sees that a log still begins with it knows that nobody compacted the log since.
func Marker() []byte {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return Record{Tag: binary.BigEndian.Uint64(nonce[:]), Member: clearMember}.Append(nil)
}

func decode(b string) Record {
	_ = b[RecordSize-1]
	at := int64(b[0])<<40 | int64(b[1])<<32 | int64(b[2])<<24 | int64(b[3])<<16 | int64(b[4])<<8 | int64(b[5])
	return Record{At: at, Tag: be64(b[6:14]), Member: be64(b[14:22])}
}

func be64(b string) uint64 {
	var v uint64
	_ = b[7]
	v = uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32
	return v | uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
}

// hash is 64 bits of SHA-256: an attacker who chooses members can't make two
// of them one. "" is 0, and nothing else is 0 or clearMember.
func hash(s string) uint64 {
	if s == "" {
		return 0
	}
	var buf [64]byte
	sum := sha256.Sum256(append(buf[:0], s...))
	h := binary.BigEndian.Uint64(sum[:])
	if h == 0 || h == clearMember {
		return 1
	}
	return h
}
