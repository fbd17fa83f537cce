package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// ErrUnstorable is wrapped by errors about a block that the backend can never store: it has no
// scope, or a value is too large or invalid. Every other error of a store is temporary, and the
// call can be retried.
var ErrUnstorable = errors.New("block can't be stored")

// ErrPartial is wrapped by errors that mean that Redis answered, or has the block, and only
// Postgres failed.
var ErrPartial = errors.New("Postgres is not available")

// Unavailable reports whether err is a failure of the store, and not ErrUnstorable.
func Unavailable(err error) bool { return err != nil && !errors.Is(err, ErrUnstorable) }

// Prepare returns p in the form that every store keeps: with defaults filled in, and times in UTC
// rounded to the precision of the stores. Its error wraps ErrUnstorable.
func Prepare(p Put, now time.Time) (Put, error) {
	b := &p.Block
	switch {
	case b.Scope.Type == "" || strings.ContainsRune(b.Scope.Type, ':') || strings.TrimSpace(b.Scope.Value) == "":
		return p, fmt.Errorf("scope %q: %w", b.Scope, ErrUnstorable)
	case !wire.ValidBlockID(b.ID):
		return p, fmt.Errorf("block ID %q: %w", b.ID, ErrUnstorable)
	case b.ExpiresAt.Year() > 9999:
		return p, fmt.Errorf("expiry in the year %d: %w", b.ExpiresAt.Year(), ErrUnstorable)
	}
	if b.CreatedAt.IsZero() {
		b.CreatedAt = now
	}
	if b.Message == "" {
		b.Message = wire.DefaultMessage
	}
	b.StatusCode = wire.ValidStatus(b.StatusCode)
	b.CreatedAt = b.CreatedAt.UTC().Truncate(time.Microsecond)
	b.ExpiresAt = b.ExpiresAt.UTC().Truncate(time.Millisecond)
	p.EvidenceTime = p.EvidenceTime.UTC().Truncate(time.Millisecond)
	return p, nil
}

// Time returns the time up to which events are ignored. It is never in the future, so that an
// operator's wrong clock cannot keep later events from blocking the scope. A zero At means now.
func (r Revocation) Time(now time.Time) time.Time {
	if r.Now.After(now) {
		now = r.Now
	}
	if r.At.IsZero() || r.At.After(now) {
		return now
	}
	return r.At
}

// A State is what a store holds about one scope.
type State struct {
	Block checker.Block // without a scope: none
	// Became is set if the block is permanent and replaced a temporary one.
	Became bool
	// Tombstone is when an operator last unblocked the scope; zero if never, or if the operator
	// has blocked it since.
	Tombstone time.Time
}

// Held reports whether the scope is blocked at now.
func (s State) Held(now time.Time) bool {
	return s.Block.Scope != (checker.Scope{}) && s.Block.ActiveAt(now)
}

// Decide returns the outcome of a prepared Put and the state after it. It defines Put: the stores
// in memory and in Postgres call it, and the Redis scripts implement the same in Lua.
func (s State) Decide(p Put, now time.Time) (State, Outcome) {
	if !s.Held(now) {
		s.Block, s.Became = checker.Block{}, false
	}
	operator := p.EvidenceTime.IsZero()
	if !operator && !s.Tombstone.IsZero() && !s.Tombstone.Before(p.EvidenceTime) {
		return s, Unblocked
	}
	if !p.Block.Permanent() && !p.Block.ExpiresAt.After(now) { // expired: Redis could not even store the key
		return s, Lapsed
	}
	if operator {
		s.Tombstone = time.Time{}
	}
	switch {
	case !s.Held(now):
		s.Block = p.Block
		return s, Began
	case p.Block.Permanent():
		return s.permanent(p.Block, operator)
	case s.Block.Permanent():
		return s, Kept
	default:
		return s.temporary(p.Block)
	}
}

// permanent puts a permanent block on a scope that is blocked.
func (s State) permanent(b checker.Block, operator bool) (State, Outcome) {
	cur := s.Block
	b.CreatedAt = cur.CreatedAt
	if !cur.Permanent() {
		s.Block, s.Became = b, true
		return s, BecamePermanent
	}
	repeated := b.ID != "" && b.ID == cur.ID
	if operator { // the latest attributes win
		b.ID = cur.ID
		s.Block = b
	}
	switch {
	case repeated && s.Became:
		return s, BecamePermanent
	case repeated:
		return s, Began
	default:
		return s, Kept
	}
}

// temporary puts a temporary block on a scope that is blocked.
func (s State) temporary(b checker.Block) (State, Outcome) {
	cur := s.Block
	repeated := b.ID != "" && b.ID == cur.ID
	outcome := Kept
	if b.ExpiresAt.After(cur.ExpiresAt) {
		outcome = Extended
		b.ID, b.CreatedAt = cur.ID, cur.CreatedAt
		s.Block = b
	}
	if repeated {
		outcome = Began
	}
	return s, outcome
}
