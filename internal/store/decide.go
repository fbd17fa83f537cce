package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// ErrUnstorable is in the chain of errors about a block that no repetition will
// store: it names no scope, or holds what the backend has no room for. Whatever
// else a store returns is its own or the network's failure, and passes.
var ErrUnstorable = errors.New("block can't be stored")

// ErrPartial is in the chain of errors that say that Redis answered, or has the block, and only Postgres could not be
// reached.
var ErrPartial = errors.New("Postgres can't be reached")

// Unavailable reports whether err is a failure of the store and not of what
// it was asked to keep.
func Unavailable(err error) bool { return err != nil && !errors.Is(err, ErrUnstorable) }

// Prepare returns p as every store keeps it: what is missing filled in, times
// in UTC and no finer than the stores can tell apart. Its error is ErrUnstorable.
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

// Time is when the unblock counts from: never in the future, or an operator's
// wrong clock would keep coming events from blocking the scope. Zero means now.
func (r Revocation) Time(now time.Time) time.Time {
	if r.Now.After(now) {
		now = r.Now
	}
	if r.At.IsZero() || r.At.After(now) {
		return now
	}
	return r.At
}

// A State is what a store knows of one scope. The zero State knows nothing.
type State struct {
	Block checker.Block // without a scope: none
	// Became is set where the block is permanent and replaced a temporary one.
	Became bool
	// Mark is when an operator last unblocked the scope; zero if that is lifted.
	Mark time.Time
}

// Held reports whether the scope is blocked at now.
func (s State) Held(now time.Time) bool {
	return s.Block.Scope != (checker.Scope{}) && s.Block.ActiveAt(now)
}

// Decide says what a prepared Put comes to, and the state after it. It is the
// meaning of Put: memory and Postgres call it, the Redis scripts say the same in Lua.
func (s State) Decide(p Put, now time.Time) (State, Outcome) {
	if !s.Held(now) {
		s.Block, s.Became = checker.Block{}, false
	}
	operator := p.EvidenceTime.IsZero()
	if !operator && !s.Mark.IsZero() && !s.Mark.Before(p.EvidenceTime) {
		return s, Unblocked
	}
	if !p.Block.Permanent() && !p.Block.ExpiresAt.After(now) { // no time is left, not even for Redis to keep the key
		return s, Lapsed
	}
	if operator {
		s.Mark = time.Time{}
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

// permanent puts a permanent block where there is one of any kind.
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

// temporary puts a temporary block where there is another.
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
