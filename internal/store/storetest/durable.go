package storetest

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Durable is what a durable tier has to pass besides Blocks.
func Durable(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Backend, store.Durable){
		"EachYieldsActiveBlocks": eachYieldsActiveBlocks,
		"EachStopsAtAnError":     eachStopsAtAnError,
		"LiftForgetsUnblocks":    liftForgetsUnblocks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			durable, ok := b.Blocks.(store.Durable)
			if !ok {
				t.Fatalf("a %T is not a durable tier", b.Blocks)
			}
			test(t, b, durable)
		})
	}
}

// aPut is a put of a block that began now; its scope is a user of the same name as its ID.
func aPut(id string, permanent bool) store.Put { return aPutAt(time.Now(), id, permanent) }

func aPutAt(now time.Time, id string, permanent bool) store.Put {
	now = now.UTC().Truncate(time.Millisecond)
	b := checker.Block{ID: id, Scope: aUser(id), Rule: "r", StatusCode: 403, Message: "m", CreatedAt: now}
	if !permanent {
		b.ExpiresAt = now.Add(time.Hour)
	}
	return store.Put{Block: b, EvidenceTime: now}
}

func aUser(name string) checker.Scope { return checker.Scope{Type: checker.ScopeUser, Value: name} }

func mustPut(t *testing.T, b store.Blocks, puts ...store.Put) []store.Result {
	t.Helper()
	results, err := b.Put(t.Context(), puts)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return results
}

func mustUnblock(t *testing.T, b store.Blocks, name string, at time.Time) {
	t.Helper()
	if _, err := b.Unblock(t.Context(), store.Revocation{Scope: aUser(name), At: at}); err != nil {
		t.Fatal(err)
	}
}

func eachYieldsActiveBlocks(t *testing.T, backend Backend, b store.Durable) {
	now := backend.Now()
	ended := aPutAt(now, "ended", false)
	ended.Block.ExpiresAt = now.Add(time.Second)
	mustPut(t, b, aPutAt(now, "held", true), aPutAt(now, "unblocked", true), ended)
	mustUnblock(t, b, "unblocked", now)
	backend.Reach(t, ended.Block.ExpiresAt.Add(time.Millisecond))
	got := map[string]bool{}
	if err := b.Each(t.Context(), func(b checker.Block) error { got[b.ID] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"held"}) {
		t.Errorf("each of %v", names)
	}
}

var errEnough = errors.New("enough")

func eachStopsAtAnError(t *testing.T, backend Backend, b store.Durable) {
	mustPut(t, b, aPutAt(backend.Now(), "a", true), aPutAt(backend.Now(), "b", true))
	calls := 0
	err := b.Each(t.Context(), func(checker.Block) error { calls++; return errEnough })
	if !errors.Is(err, errEnough) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func liftForgetsUnblocks(t *testing.T, backend Backend, b store.Durable) {
	early := aPutAt(backend.Now(), "a", true)
	mustUnblock(t, b, "a", early.EvidenceTime)
	if r := mustPut(t, b, early)[0]; r.Outcome != store.Unblocked {
		t.Fatalf("put from before the unblock: %+v", r)
	}
	if err := b.Lift(t.Context(), []checker.Scope{aUser("a"), aUser("never")}); err != nil {
		t.Fatal(err)
	}
	if r := mustPut(t, b, early)[0]; r.Outcome != store.Began {
		t.Errorf("put after lifting: %+v", r)
	}
}
