package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

func (s *suite) begin(t *testing.T) {
	at := s.base()
	temp, perm := temporary(scope("1"), "t", at, time.Hour), permanent(scope("2"), "p", at)
	s.free(t, scope("1"))
	s.same(t, s.put1(t, temp, store.Began), temp.Block)
	s.same(t, s.put1(t, perm, store.Began), perm.Block)
	s.holds(t, temp.Block)
	s.holds(t, perm.Block)
	s.free(t, scope("3"))
}

func (s *suite) strengthMatrix(t *testing.T) {
	at := s.base()
	lengths := map[string]time.Duration{"short": time.Hour, "long": 2 * time.Hour, "permanent": 0}
	of := func(length, id string, sc checker.Scope) store.Put {
		if lengths[length] == 0 {
			return permanent(sc, id, at)
		}
		return temporary(sc, id, at, lengths[length])
	}
	for _, tc := range []struct {
		first, second string
		want          store.Outcome
		second2       bool // the second is in force afterwards
	}{
		{"short", "short", store.Kept, false},
		{"short", "long", store.Extended, true},
		{"short", "permanent", store.BecamePermanent, true},
		{"long", "short", store.Kept, false},
		{"long", "long", store.Kept, false},
		{"long", "permanent", store.BecamePermanent, true},
		{"permanent", "short", store.Kept, false},
		{"permanent", "long", store.Kept, false},
		{"permanent", "permanent", store.Kept, false},
	} {
		for _, who := range []string{"event", "operator"} {
			sc := scope(fmt.Sprintf("%s-%s-%s", tc.first, tc.second, who))
			s.put1(t, of(tc.first, "a", sc), store.Began)
			second := of(tc.second, "b", sc)
			if who == "operator" {
				second = operator(second)
			}
			inForce := s.put1(t, second, tc.want)
			found := s.lookup(t, sc)
			if len(found) != 1 {
				t.Fatalf("%s: Lookup = %+v", sc, found)
			}
			first := of(tc.first, "a", sc).Block
			want := first
			if tc.second2 {
				want = second.Block
			}
			for _, got := range []checker.Block{inForce, found[0]} {
				if !got.ExpiresAt.Equal(want.ExpiresAt) {
					t.Errorf("%s: in force until %v, want %v", sc, got.ExpiresAt, want.ExpiresAt)
				}
				if wantID := map[bool]string{true: "b", false: "a"}[tc.want == store.BecamePermanent]; got.ID != wantID {
					t.Errorf("%s: ID %q, want %q", sc, got.ID, wantID)
				}
			}
		}
	}
}

func (s *suite) extensionKeepsIdentity(t *testing.T) {
	at := s.base()
	sc := scope("x")
	s.put1(t, temporary(sc, "first", at, time.Hour), store.Began)
	for i := range 3 {
		later := temporary(sc, fmt.Sprintf("later%d", i), at.Add(time.Duration(i+1)*time.Second), time.Hour)
		got := s.put1(t, later, store.Extended)
		want := later.Block // its reason is why the block lasts
		want.ID, want.CreatedAt = "first", at
		s.same(t, got, want)
		s.holds(t, want)
	}
	s.put1(t, temporary(sc, "later1", at.Add(2*time.Second), time.Hour), store.Kept)
}

func (s *suite) redeliveryBeginsAgain(t *testing.T) {
	at := s.base()
	temp, perm := temporary(scope("t"), "a", at, time.Hour), permanent(scope("p"), "b", at)
	for range 3 {
		s.same(t, s.put1(t, temp, store.Began), temp.Block)
		s.same(t, s.put1(t, perm, store.Began), perm.Block)
	}
	longer := temporary(scope("t"), "c", at.Add(time.Second), time.Hour)
	s.put1(t, longer, store.Extended)
	got := s.put1(t, temp, store.Began)
	if !got.ExpiresAt.Equal(longer.Block.ExpiresAt) {
		t.Errorf("a redelivery shortened the block to %v", got.ExpiresAt)
	}
	s.put1(t, permanent(scope("p"), "d", at), store.Kept)
}

func (s *suite) redeliveryBecomesAgain(t *testing.T) {
	at := s.base()
	sc := scope("x")
	s.put1(t, temporary(sc, "a", at, time.Hour), store.Began)
	perm := permanent(sc, "b", at.Add(time.Second))
	for range 3 {
		s.put1(t, perm, store.BecamePermanent)
	}
	s.put1(t, operator(permanent(sc, "op", at.Add(2*time.Second))), store.Kept)
	s.put1(t, perm, store.BecamePermanent)
	s.put1(t, temporary(sc, "a", at, time.Hour), store.Kept)
}

func (s *suite) permanentStaysOnTop(t *testing.T) {
	at := s.base()
	perm := permanent(scope("x"), "p", at)
	s.put1(t, perm, store.Began)
	for _, p := range []store.Put{
		temporary(scope("x"), "a", at, 1000*time.Hour), operator(temporary(scope("x"), "b", at, time.Hour)),
		temporary(scope("x"), "p", at, time.Hour),
	} {
		s.same(t, s.put1(t, p, store.Kept), perm.Block)
		s.holds(t, perm.Block)
	}
}

func (s *suite) latestAttributesWin(t *testing.T) {
	at := s.base()
	sc := scope("12")
	s.put1(t, operator(permanent(sc, "first", at)), store.Began)
	second := operator(permanent(sc, "second", at.Add(5*time.Second)))
	second.Block.StatusCode, second.Block.Message = 402, "second"
	want := second.Block
	want.ID, want.CreatedAt = "first", at
	s.same(t, s.put1(t, second, store.Kept), want)
	s.holds(t, want)
	s.put1(t, permanent(sc, "event", at.Add(6*time.Second)), store.Kept)
	s.holds(t, want)
}

func (s *suite) expiry(t *testing.T) {
	now := s.Now().Truncate(time.Millisecond)
	sc := scope("x")
	first := temporary(sc, "a", now, 300*time.Millisecond)
	s.put1(t, first, store.Began)
	s.holds(t, first.Block)
	s.Reach(t, first.Block.ExpiresAt.Add(2*time.Millisecond))
	s.free(t, sc)
	if blocks, err := s.Blocks.List(t.Context(), 0); err != nil || len(blocks) != 0 {
		t.Fatalf("List = %+v, %v, want nothing", blocks, err)
	}
	if lifted := s.unblock(t, scope("x2"), s.Now()); len(lifted) != 0 {
		t.Fatalf("Unblock lifted %+v", lifted)
	}
	s.put1(t, first, store.Lapsed)
	next := temporary(sc, "b", s.Now(), time.Hour)
	s.put1(t, next, store.Began)
	next.Block.ExpiresAt = next.Block.ExpiresAt.Truncate(time.Millisecond)
	next.Block.CreatedAt = next.Block.CreatedAt.Truncate(time.Microsecond)
	s.holds(t, next.Block)
}

func (s *suite) lapsed(t *testing.T) {
	now := s.Now()
	for i, at := range []time.Time{now.Add(-time.Hour), now.Add(-time.Second), time.UnixMilli(5), time.Unix(-7200, 0)} {
		sc := scope(fmt.Sprint(i))
		got := s.put1(t, temporary(sc, "a", at, time.Millisecond), store.Lapsed)
		if got.Scope != (checker.Scope{}) {
			t.Errorf("a lapsed block is in force: %+v", got)
		}
		s.free(t, sc)
	}
	held := temporary(scope("held"), "a", now.Truncate(time.Second), time.Hour)
	s.put1(t, held, store.Began)
	s.put1(t, temporary(scope("held"), "b", now.Add(-time.Hour), time.Second), store.Lapsed)
	s.holds(t, held.Block)
}
