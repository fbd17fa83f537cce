// Package window implements sliding windows of distinct members whose counts do not depend on how
// often or in which order entries are delivered.
//
// The state of a window is a log of records. An operation only adds a record, so operations commute
// and repeating one changes nothing; counts are computed from the records. Members are dropped by
// capacity (Spec.Capacity) and not by time, so a late entry still counts correctly, memory is
// bounded, and a count saturates above the threshold.
//
// A clear removes members, including those that arrive later with an earlier time. The log applies
// it to members that are already present. In addition each window keeps the newest clear of every
// tag (Clears), so that a clear is not lost while a member that it removes may still arrive,
// however many clears of other tags there are.
package window

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// A Spec describes one kind of window. It must not be changed once in use.
type Spec struct {
	// Name starts the key: the rule's name.
	Name string
	// Threshold is the highest count that a rule acts on; it determines the capacity.
	Threshold int
	// Length is the span of time within which members count together.
	Length time.Duration
	// Lateness is how late an entry may be handled and still be counted correctly. Claimed entries
	// are late.
	Lateness time.Duration
	// Latest moves a repeated member to its latest time, for windows of distinct values. Otherwise
	// it keeps its first time, for windows of events.
	Latest bool
	// MaxClears is the number of tags whose newest clear a window remembers; 0 means
	// DefaultMaxClears. NeverCleared means that there are no clears, so that the store need not
	// look for them.
	MaxClears int
	// RareTags means that most clears have a tag that no member has in any window of the spec. A
	// store may skip such clears.
	RareTags bool
	// ClearsAll means that there are also clears without a Tag, which remove every member.
	ClearsAll bool
	// Variant distinguishes specs that differ in a rule's other parameters.
	Variant string
}

// DefaultMaxClears is the default of Spec.MaxClears. It exceeds the number of people that share one
// address. In Redis a window with that many clears takes about 2 MB.
const DefaultMaxClears = 16_384

// NeverCleared is the MaxClears of windows without clears.
const NeverCleared = -1

// KeepsClears reports whether windows of the spec can be cleared.
func (s *Spec) KeepsClears() bool { return s.MaxClears >= 0 }

// clearable reports whether a clear can remove members of the tag.
func (s *Spec) clearable(tag uint64) bool { return s.KeepsClears() && (tag != 0 || s.ClearsAll) }

// ClearLimit returns the number of tags whose newest clear a window remembers.
func (s *Spec) ClearLimit() int { return cmp.Or(max(s.MaxClears, 0), DefaultMaxClears) }

// outageBudget is how much longer than length and lateness a window is kept, so that it survives an
// outage of the workers.
const outageBudget = 10 * time.Minute

// spareCount is how far above the threshold counts are exact at least.
const spareCount = 8

// Capacity returns how many members a window keeps. With threshold k, length w and lateness L,
// (k-1)·⌈(w+L)/w⌉+1 members suffice to find every run of k within w. A few more keep counts just
// above the threshold exact; beyond them counts saturate.
func (s *Spec) Capacity() int {
	k := max(s.Threshold, 1)
	spans := int((s.Length + s.Lateness + s.Length - 1) / max(s.Length, 1))
	return max((k-1)*spans+1, k+spareCount)
}

// TTL returns how long a window is kept after its last change.
func (s *Spec) TTL() time.Duration { return s.Length + s.Lateness + outageBudget }

// layout is the version of the data format in Redis. Workers of different versions must not share
// windows.
const layout = 3

// ID returns the spec's part of Redis keys: its name and a hash of every parameter that changes the
// meaning of records, so that a rolling deployment never mixes two meanings.
func (s *Spec) ID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d|%d|%d|%d|%t|%s", layout, s.Threshold, s.Length, s.Lateness, s.Latest, s.Variant))
	return s.Name + ":" + hex.EncodeToString(sum[:8])
}

// A Kind is the kind of an operation.
type Kind uint8

const (
	// Add adds Member at Time. Its count is the largest number of members, including this one,
	// within any span of Length.
	Add Kind = iota
	// Read changes nothing. Its count is the members in (Time-Length, Time].
	Read
	// Clear removes the members of Tag at or before Time, including those that arrive later; Tag ""
	// means every member. Its count is zero.
	Clear
)

// ErrNeverCleared is returned for a clear that the window's Spec does not allow.
var ErrNeverCleared = errors.New("the window's spec does not allow this clear")

// An Op is one operation on the window of Spec and Group.
type Op struct {
	Spec   *Spec
	Group  string // what is counted for, such as an address
	Kind   Kind
	Time   time.Time // to the millisecond
	Member string
	Tag    string
	// Threshold overrides the Spec's threshold for this operation; 0 means the Spec's. It affects
	// only Count.Since.
	Threshold int
}

// A Count is the result of an operation.
type Count struct {
	// Size is the number of members.
	Size int
	// Since is the start of the evidence: the time of the oldest of the newest members that
	// together reach the threshold; zero below the threshold. A match whose evidence starts before
	// its scope was unblocked does not block the scope again.
	Since time.Time
}

// Marginal reports whether c, the result of op, exceeds the threshold by so little that a few
// clears still to be handled could undo it.
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

// A Store stores windows. It is safe for concurrent use.
//
// Apply executes operations in order and returns one count for each, as if they were executed one
// by one. After an error any part of them may have been applied; applying them again is harmless. A
// count below the threshold of its operation may include members that a clear removes, if the log
// no longer has the clear; from the threshold on it does not.
//
// Recount returns the current counts of operations that were applied before, and changes nothing.
// It uses all known members, and clears up to the time of each operation: a later clear does not
// reduce the count, unless compaction has already removed the members.
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

// maxTime is the latest time that a Record can hold, in the year 10889.
const maxTime = 1<<48 - 1

// record returns what op adds to the log: for a Read, only the time is set, and nothing is added.
// Only a Marker has the time 0.
func (op *Op) record() Record {
	r := Record{At: min(max(op.Time.UnixMilli(), 1), maxTime)}
	switch op.Kind {
	case Add:
		r.Tag, r.Member = hash(op.Tag), hash(op.Member)
	case Clear:
		r.Tag, r.Member = hash(op.Tag), clearMember
	case Read:
	}
	return r
}

// Append appends the encoded record to b.
func (r Record) Append(b []byte) []byte {
	b = append(b, byte(r.At>>40), byte(r.At>>32))      //nolint:gosec // at most maxTime
	b = binary.BigEndian.AppendUint32(b, uint32(r.At)) //nolint:gosec // the low 32 bits are meant
	b = binary.BigEndian.AppendUint64(b, r.Tag)
	return binary.BigEndian.AppendUint64(b, r.Member)
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

// hash returns 64 bits of SHA-256, so that attackers who choose members cannot make two of them
// equal. The hash of "" is 0; no other hash is 0 or clearMember.
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
