package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestPrepare(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.FixedZone("x", 3600))
	p, err := Prepare(Put{
		EvidenceTime: now, Block: checker.Block{Scope: checker.Scope{Type: "ip", Value: "203.0.113.9"}, ExpiresAt: now.Add(time.Hour), StatusCode: -1},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	b := p.Block
	if b.StatusCode != wire.DefaultStatus || b.Message != wire.DefaultMessage || !b.CreatedAt.Equal(now.Truncate(time.Microsecond)) ||
		!b.ExpiresAt.Equal(now.Truncate(time.Millisecond).Add(time.Hour)) || !p.EvidenceTime.Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("Prepare = %+v", p)
	}
	if _, err := Prepare(Put{Block: checker.Block{ID: strings.Repeat("x", 300), Scope: b.Scope}}, now); !errors.Is(err, ErrUnstorable) || Unavailable(err) {
		t.Errorf("Prepare of a long ID: %v", err)
	}
	if Unavailable(nil) || !Unavailable(errors.New("x")) {
		t.Error("Unavailable takes errors for what they aren't")
	}
}

// TestBlockHoldsAtItsEnd: a block holds at the moment it ends, and none is begun
// then.
func TestBlockHoldsAtItsEnd(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0).UTC()
	p := Put{EvidenceTime: now, Block: checker.Block{ID: "a", Scope: checker.Scope{Type: "user", Value: "x"}, ExpiresAt: now.Add(time.Second)}}
	s, outcome := State{}.Decide(p, now)
	if outcome != Began || !s.Held(p.Block.ExpiresAt) || s.Held(p.Block.ExpiresAt.Add(1)) {
		t.Errorf("outcome %d, held %v", outcome, s.Held(p.Block.ExpiresAt))
	}
	if _, outcome := s.Decide(p, p.Block.ExpiresAt); outcome != Lapsed {
		t.Errorf("outcome %d at the end, want Lapsed", outcome)
	}
}

func TestFirstBlockBegins(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	b := func(value, id string, ends time.Time) checker.Block {
		return checker.Block{ID: id, Scope: checker.Scope{Type: "user", Value: value}, ExpiresAt: ends}
	}
	got := ""
	for _, block := range First([]checker.Block{
		b("b", "1", at), b("c", "2", time.Time{}), b("b", "3", at.Add(1)), b("a", "4", at), b("c", "5", time.Time{}), b("c", "6", at),
	}, 3) {
		got += block.ID
	}
	if got != "243" {
		t.Errorf("First = %s, want 243", got)
	}
}
