package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

func (s *suite) batchInOrder(t *testing.T) {
	at := s.base()
	x, y := scope("x"), scope("y")
	for i, r := range s.put(t,
		temporary(x, "a", at, time.Hour), temporary(x, "b", at, time.Hour), temporary(x, "c", at, 2*time.Hour), temporary(y, "d", at, time.Hour),
		temporary(x, "a", at, time.Hour), permanent(x, "e", at), permanent(x, "f", at), temporary(x, "g", at, 3*time.Hour), permanent(x, "e", at),
	) {
		want := []store.Outcome{
			store.Began, store.Kept, store.Extended, store.Began,
			store.Began, store.BecamePermanent, store.Kept, store.Kept, store.BecamePermanent,
		}[i]
		if r.Err != nil || r.Outcome != want {
			t.Errorf("put %d: outcome %d, error %v; want %d", i, r.Outcome, r.Err, want)
		}
	}
	if blocks := s.lookup(t, x); len(blocks) != 1 || blocks[0].ID != "e" || !blocks[0].Permanent() {
		t.Fatalf("Lookup = %+v, want the permanent block", blocks)
	}
}

func (s *suite) largeBatch(t *testing.T) {
	at := s.base()
	const n = 600
	puts := make([]store.Put, n)
	scopes := make([]checker.Scope, n)
	for i := range puts {
		scopes[i] = scope(fmt.Sprintf("u%d", i))
		puts[i] = temporary(scopes[i], "a", at, time.Hour)
		if i%2 == 0 {
			puts[i] = permanent(scopes[i], "a", at)
		}
	}
	for i, r := range s.put(t, puts...) {
		if r.Err != nil || r.Outcome != store.Began {
			t.Fatalf("put %d: %+v", i, r)
		}
	}
	if found := s.lookup(t, scopes...); len(found) != n {
		t.Fatalf("Lookup found %d of %d", len(found), n)
	}
	if results, err := s.Blocks.Put(t.Context(), nil); err != nil || len(results) != 0 {
		t.Fatalf("Put of nothing: %v, %v", results, err)
	}
}

func (s *suite) oneBeginsOfMany(t *testing.T) {
	at := s.base()
	const writers = 100
	for kind, put := range makers() {
		sc := scope(kind)
		var all sync.WaitGroup
		outcomes := make([]store.Outcome, writers)
		for i := range writers {
			all.Go(func() {
				results, err := s.Blocks.Put(t.Context(), []store.Put{put(sc, fmt.Sprintf("w%d", i), at)})
				if err != nil || results[0].Err != nil {
					t.Errorf("Put: %v %v", results, err)
					return
				}
				outcomes[i] = results[0].Outcome
			})
		}
		all.Wait()
		if began := len(slices.DeleteFunc(outcomes, func(o store.Outcome) bool { return o != store.Began })); began != 1 {
			t.Errorf("%s: %d of %d began, want one", kind, began, writers)
		}
	}
}

func (s *suite) listOrder(t *testing.T) {
	at := s.base()
	ip := func(v string) checker.Scope { return checker.Scope{Type: checker.ScopeIP, Value: v} }
	s.put(t,
		temporary(scope("b"), "1", at, time.Hour), permanent(scope("z"), "2", at), temporary(ip("203.0.113.9"), "3", at, time.Hour),
		permanent(scope("Z"), "4", at), temporary(scope("a"), "5", at, 2*time.Hour), permanent(ip("203.0.113.1"), "6", at),
		temporary(scope("é"), "7", at, time.Hour),
	)
	want := []string{"ip:203.0.113.1", "user:Z", "user:z", "ip:203.0.113.9", "user:a", "user:b", "user:é"}
	for _, limit := range []int{0, 1, 3, 5, 7, 100} {
		blocks, err := s.Blocks.List(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range blocks {
			got = append(got, b.Scope.String())
		}
		expected := want
		if limit > 0 && limit < len(want) {
			expected = want[:limit]
		}
		if !slices.Equal(got, expected) {
			t.Errorf("List(%d) = %v, want %v", limit, got, expected)
		}
	}
	s.unblock(t, scope("z"), at)
	blocks, err := s.Blocks.List(t.Context(), 0)
	if err != nil || len(blocks) != len(want)-1 {
		t.Fatalf("List after Unblock = %+v, %v", blocks, err)
	}
}

func (s *suite) lookupMany(t *testing.T) {
	at := s.base()
	if got := s.lookup(t); len(got) != 0 {
		t.Fatalf("Lookup of nothing = %+v", got)
	}
	var scopes []checker.Scope
	want := map[checker.Scope]checker.Block{}
	for i := range 40 {
		sc := checker.Scope{Type: []string{"user", "session", "ip"}[i%3], Value: fmt.Sprintf("v%d", i/3)}
		scopes = append(scopes, sc)
		switch i % 4 {
		case 0:
			want[sc] = s.put1(t, temporary(sc, "t", at, time.Hour), store.Began)
		case 1:
			want[sc] = s.put1(t, permanent(sc, "p", at), store.Began)
		}
	}
	found := s.lookup(t, scopes...)
	if len(found) != len(want) {
		t.Fatalf("Lookup found %d, want %d", len(found), len(want))
	}
	for _, b := range found {
		s.same(t, b, want[b.Scope])
	}
}
