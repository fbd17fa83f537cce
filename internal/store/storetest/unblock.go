package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// makers make the two kinds of blocks.
func makers() map[string]func(sc checker.Scope, id string, at time.Time) store.Put {
	return map[string]func(sc checker.Scope, id string, at time.Time) store.Put{
		"temporary": func(sc checker.Scope, id string, at time.Time) store.Put { return temporary(sc, id, at, time.Hour) },
		"permanent": permanent,
	}
}

func (s *suite) unblockRefusesOlder(t *testing.T) {
	at := s.base()
	for kind, put := range makers() {
		sc := scope(kind)
		first := put(sc, "a", at)
		s.put1(t, first, store.Began)
		lifted := s.unblock(t, sc, at.Add(time.Second+500*time.Microsecond))
		if len(lifted) != 1 {
			t.Fatalf("Unblock lifted %+v, want one block", lifted)
		}
		s.same(t, lifted[0], first.Block)
		s.free(t, sc)
		if lifted := s.unblock(t, sc, at.Add(time.Second+500*time.Microsecond)); len(lifted) != 0 {
			t.Fatalf("a second Unblock lifted %+v", lifted)
		}
		for i, late := range []time.Duration{0, 500 * time.Millisecond, time.Second, time.Second + 900*time.Microsecond} {
			s.put1(t, put(sc, fmt.Sprintf("old%d", i), at.Add(late)), store.Unblocked)
			s.put1(t, put(sc, "a", at.Add(late)), store.Unblocked)
			s.free(t, sc)
		}
		next := put(sc, "new", at.Add(time.Second+time.Millisecond))
		s.put1(t, next, store.Began)
		s.holds(t, next.Block)
		s.put1(t, put(sc, "a", at), store.Unblocked)
		s.holds(t, next.Block)
	}
}

func (s *suite) unblockWithoutBlock(t *testing.T) {
	at := s.base()
	for kind, put := range makers() {
		sc := scope(kind)
		if lifted := s.unblock(t, sc, at); len(lifted) != 0 {
			t.Fatalf("Unblock of nothing lifted %+v", lifted)
		}
		s.put1(t, put(sc, "old", at), store.Unblocked)
		s.free(t, sc)
		s.put1(t, put(sc, "new", at.Add(time.Millisecond)), store.Began)
	}
}

func (s *suite) unblockNeverMovesBack(t *testing.T) {
	at := s.base()
	for kind, put := range makers() {
		sc := scope(kind)
		s.unblock(t, sc, at.Add(5*time.Second))
		s.unblock(t, sc, at)
		s.put1(t, put(sc, "between", at.Add(3*time.Second)), store.Unblocked)
	}
}

func (s *suite) unblockNotInTheFuture(t *testing.T) {
	for kind, put := range makers() {
		sc := scope(kind)
		s.unblock(t, sc, s.Now().Add(time.Hour))
		s.put1(t, put(sc, "x", s.Now().Add(time.Minute)), store.Began)
	}
	sc := scope("zero")
	s.unblock(t, sc, time.Time{})
	s.put1(t, temporary(sc, "x", s.base(), time.Hour), store.Unblocked)
}

func (s *suite) operatorLiftsUnblock(t *testing.T) {
	at := s.base()
	for first, put := range makers() {
		for second, again := range makers() {
			sc := scope(first + second)
			s.put1(t, put(sc, "a", at), store.Began)
			s.unblock(t, sc, at.Add(time.Second))
			s.put1(t, operator(put(sc, "op", at.Add(2*time.Second))), store.Began)
			s.unblock(t, sc, at.Add(3*time.Second))
			lapsed := operator(temporary(sc, "lapsed", at.Add(-time.Hour), time.Second))
			s.put1(t, lapsed, store.Lapsed)
			s.put1(t, again(sc, "old", at.Add(2*time.Second)), store.Unblocked)
			s.put1(t, operator(put(sc, "op2", at.Add(2*time.Second))), store.Began)
			s.put1(t, again(sc, "op2", at), map[bool]store.Outcome{
				true: store.Began, false: map[string]store.Outcome{"permanent": store.BecamePermanent, "temporary": store.Kept}[second],
			}[first == second]) // not Unblocked
		}
	}
}

func (s *suite) epochIsNoOperator(t *testing.T) {
	at := s.base()
	sc := scope("x")
	s.unblock(t, sc, at)
	for _, event := range []time.Time{time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(-1), time.Unix(-3600, 0)} {
		p := permanent(sc, "old", at)
		p.EvidenceTime = event
		s.put1(t, p, store.Unblocked)
	}
	s.free(t, sc)
}

// unblockAgainstPuts unblocks a scope while events from before keep blocking
// it: none of them may win in the end.
func (s *suite) unblockAgainstPuts(t *testing.T) {
	at := s.base()
	for kind, put := range makers() {
		sc := scope(kind)
		var puts sync.WaitGroup
		for i := range 8 {
			puts.Go(func() {
				for j := range 10 {
					p := put(sc, fmt.Sprintf("e%d-%d", i, j), at.Add(time.Duration(j)*time.Millisecond))
					if _, err := s.Blocks.Put(t.Context(), []store.Put{p}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		s.unblock(t, sc, at.Add(time.Second))
		puts.Wait()
		s.free(t, sc)
		if blocks, err := s.Blocks.List(t.Context(), 0); err != nil || len(blocks) != 0 {
			t.Fatalf("List = %+v, %v, want nothing", blocks, err)
		}
	}
}
