package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Cache is what a cache tier has to pass besides Blocks. open returns an empty one.
func Cache(t *testing.T, open func(t *testing.T) store.Cache) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, store.Cache){
		"ConfirmedBlockIsKnown":          confirmedBlockIsKnown,
		"ConfirmAfterUnblock":            confirmAfterUnblock,
		"UndurableBlockIsKnownApart":     undurableBlockIsKnownApart,
		"RebuildReplacesMembership":      rebuildReplacesMembership,
		"RebuildBeginsAgainOnChange":     rebuildBeginsAgainOnChange,
		"FailedRebuildChangesNothing":    failedRebuildChangesNothing,
		"MembershipOutranksLostCopy":     membershipOutranksLostCopy,
		"ColdLookupUntilComplete":        coldLookupUntilComplete,
		"SyncFollowsDurableTier":         syncFollowsDurableTier,
		"SyncWhateverTheTimeOfCreation":  syncWhateverTheTimeOfCreation,
		"SweepDeletesOnlyStaleCopies":    sweepDeletesOnlyStaleCopies,
		"RefreshSparesUnblockedAndEnded": refreshSparesUnblockedAndEnded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// A tier is what the durable tier has, by scope.
type tier map[checker.Scope]checker.Block

func tierOf(puts ...store.Put) tier {
	t := tier{}
	for _, p := range puts {
		t[p.Block.Scope] = p.Block
	}
	return t
}

func (d tier) each(_ context.Context, fn func(checker.Block) error) error {
	for _, b := range d {
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

// Lookup implements [checker.Lookup].
func (d tier) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	var out []checker.Block
	for _, s := range scopes {
		if b, ok := d[s]; ok {
			out = append(out, b)
		}
	}
	return out, nil
}

func mustRebuild(t *testing.T, c store.Cache, d tier) {
	t.Helper()
	if n, err := c.Rebuild(t.Context(), d.each); err != nil || n != len(d) {
		t.Fatalf("rebuilt %d of %d blocks, %v", n, len(d), err)
	}
}

func mustConfirm(t *testing.T, c store.Cache, p store.Put, want store.Outcome) {
	t.Helper()
	if outcomes, err := c.Confirm(t.Context(), []store.Put{p}); err != nil || outcomes[0] != want {
		t.Fatalf("confirm %s: %v, %v, want %v", p.Block.ID, outcomes, err, want)
	}
}

// blockedBy fails the test unless the look-up finds these blocks for the users of these names; ""
// is none.
func blockedBy(t *testing.T, l checker.Lookup, want map[string]string) {
	t.Helper()
	for name, id := range want {
		blocks, err := l.Lookup(t.Context(), []checker.Scope{aUser(name)})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(blocks) > 0 {
			got = blocks[0].ID
		}
		if got != id {
			t.Errorf("%s is blocked by %q, want %q", name, got, id)
		}
	}
}

func members(t *testing.T, c store.Cache, complete bool, blocks int) {
	t.Helper()
	m, err := c.Members(t.Context())
	if err != nil || m.Complete != complete || m.Blocks != blocks || m.Age > c.PermanentTTL() {
		t.Errorf("members %+v, %v, want %d", m, err, blocks)
	}
}

func confirmedBlockIsKnown(t *testing.T, c store.Cache) {
	mustRebuild(t, c, tier{})
	p := aPut("a", true)
	mustConfirm(t, c, p, store.Began)
	mustConfirm(t, c, p, store.Began) // as at a redelivery
	blockedBy(t, c, map[string]string{"a": "a", "b": ""})
	states, undurable, err := c.Known(t.Context(), []checker.Scope{aUser("a"), aUser("b")})
	if err != nil || !states[0].Held(time.Now()) || states[0].Block.ID != "a" || states[1].Held(time.Now()) || undurable[0].ID != "" {
		t.Errorf("known: %+v, undurable %+v, %v", states, undurable, err)
	}
	members(t, c, true, 1)
}

func confirmAfterUnblock(t *testing.T, c store.Cache) {
	mustRebuild(t, c, tier{})
	old, later := aPut("a", true), aPut("a", true)
	later.EvidenceTime = later.EvidenceTime.Add(time.Minute)
	mustUnblock(t, c, "a", old.EvidenceTime)
	mustConfirm(t, c, old, store.Unblocked)
	blockedBy(t, c, map[string]string{"a": ""})
	members(t, c, true, 0)
	mustConfirm(t, c, later, store.Began)
	blockedBy(t, c, map[string]string{"a": "a"})
}

func undurableBlockIsKnownApart(t *testing.T, c store.Cache) {
	mustPut(t, c, aPut("a", true), aPut("b", false))
	states, undurable, err := c.Known(t.Context(), []checker.Scope{aUser("a"), aUser("b")})
	if err != nil || states[0].Held(time.Now()) || undurable[0].ID != "a" || undurable[1].ID != "" {
		t.Errorf("known: %+v, undurable %+v, %v", states, undurable, err)
	}
}

func rebuildReplacesMembership(t *testing.T, c store.Cache) {
	members(t, c, false, 0)
	const many = 1234
	d := tier{}
	for i := range many {
		p := aPut(fmt.Sprint("u", i), true)
		d[p.Block.Scope] = p.Block
	}
	mustRebuild(t, c, d)
	members(t, c, true, many)
	blockedBy(t, c, map[string]string{"u7": "u7", "none": ""})
	delete(d, aUser("u7"))
	mustRebuild(t, c, d)
	members(t, c, true, many-1)
	blockedBy(t, c, map[string]string{"u7": "", "u8": "u8"})
}

// rebuildBeginsAgainOnChange: what changes while a rebuild reads is not what it puts in place.
func rebuildBeginsAgainOnChange(t *testing.T, c store.Cache) {
	mustRebuild(t, c, tier{})
	d, reads := tier{}, 0
	changing := func(times int) func(context.Context, func(checker.Block) error) error {
		return func(ctx context.Context, fn func(checker.Block) error) error {
			if err := d.each(ctx, fn); err != nil {
				return err
			}
			if reads++; reads <= times {
				p := aPut(fmt.Sprint("late", reads), true)
				d[p.Block.Scope] = p.Block
				_, err := c.Confirm(ctx, []store.Put{p})
				return err
			}
			return nil
		}
	}
	if n, err := c.Rebuild(t.Context(), changing(1)); err != nil || n != 1 || reads != 2 {
		t.Fatalf("rebuilt %d blocks in %d reads, %v", n, reads, err)
	}
	blockedBy(t, c, map[string]string{"late1": "late1"})
	reads = 0
	if _, err := c.Rebuild(t.Context(), changing(1000)); !errors.Is(err, store.ErrConflict) || reads > 10 {
		t.Fatalf("%d reads, %v", reads, err)
	}
	members(t, c, true, len(d))
}

func failedRebuildChangesNothing(t *testing.T, c store.Cache) {
	mustRebuild(t, c, tierOf(aPut("a", true)))
	_, err := c.Rebuild(t.Context(), func(_ context.Context, fn func(checker.Block) error) error {
		return errors.Join(fn(aPut("b", true).Block), errEnough)
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("rebuild: %v", err)
	}
	members(t, c, true, 1)
	blockedBy(t, c, map[string]string{"a": "a", "b": ""})
}

// membershipOutranksLostCopy: without a copy, no temporary block is put over a permanent one.
func membershipOutranksLostCopy(t *testing.T, c store.Cache) {
	mustRebuild(t, c, tierOf(aPut("a", true)))
	p := aPut("a", false)
	p.Block.ID = "temporary"
	if r := mustPut(t, c, p)[0]; r.Outcome != store.Kept || r.Block.ID != "a" || !r.Block.Permanent() {
		t.Errorf("put: %+v", r)
	}
}

func coldLookupUntilComplete(t *testing.T, c store.Cache) {
	cold := tierOf(aPut("cold", true))
	l := c.LookupWith(cold)
	blockedBy(t, l, map[string]string{"cold": "cold", "none": ""})
	mustRebuild(t, c, tier{})
	blockedBy(t, l, map[string]string{"cold": ""})
}

// syncFollowsDurableTier: a worker was stopped between the tiers, twice.
func syncFollowsDurableTier(t *testing.T, c store.Cache) {
	gone, there := aPut("gone", true), aPut("there", true)
	mustRebuild(t, c, tierOf(gone))
	if err := c.Refresh(t.Context(), []checker.Block{gone.Block}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, c, aPut("temporary", false))
	scopes := []checker.Scope{aUser("gone"), aUser("there"), aUser("temporary"), aUser("never")}
	for _, want := range []int{2, 0} {
		if n, err := c.Sync(t.Context(), scopes, tierOf(there).Lookup); err != nil || n != want {
			t.Errorf("changed %d, want %d, %v", n, want, err)
		}
	}
	blockedBy(t, c, map[string]string{"gone": "", "there": "there", "temporary": "temporary", "never": ""})
	members(t, c, true, 1)
}

// syncWhateverTheTimeOfCreation: the durable tier has decided between a block and an unblock before
// it.
func syncWhateverTheTimeOfCreation(t *testing.T, c store.Cache) {
	mustRebuild(t, c, tier{})
	p := aPut("a", true)
	p.Block.CreatedAt = p.Block.CreatedAt.Add(-time.Hour)
	mustUnblock(t, c, "a", time.Now())
	if n, err := c.Sync(t.Context(), []checker.Scope{aUser("a")}, tierOf(p).Lookup); err != nil || n != 1 {
		t.Fatalf("changed %d, %v", n, err)
	}
	blockedBy(t, c, map[string]string{"a": "a"})
}

func sweepDeletesOnlyStaleCopies(t *testing.T, c store.Cache) {
	stale, held := aPut("stale", true), aPut("held", true)
	if err := c.Refresh(t.Context(), []checker.Block{stale.Block, held.Block}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, c, aPut("temporary", false), aPut("undurable", true))
	if n, err := c.Sweep(t.Context(), tierOf(held).Lookup); err != nil || n != 1 {
		t.Fatalf("deleted %d, %v", n, err)
	}
	blocks, err := c.List(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	left := make([]string, len(blocks))
	for i, b := range blocks {
		left[i] = b.ID
	}
	slices.Sort(left)
	if !slices.Equal(left, []string{"held", "temporary", "undurable"}) {
		t.Errorf("left are %v", left)
	}
}

func refreshSparesUnblockedAndEnded(t *testing.T, c store.Cache) {
	held, unblocked, ended := aPut("held", true), aPut("unblocked", true), aPut("ended", false)
	ended.Block.ExpiresAt = time.Now().Add(-time.Minute)
	mustUnblock(t, c, "unblocked", unblocked.Block.CreatedAt)
	if err := c.Refresh(t.Context(), []checker.Block{held.Block, unblocked.Block, ended.Block}); err != nil {
		t.Fatal(err)
	}
	blockedBy(t, c, map[string]string{"held": "held", "unblocked": "", "ended": ""})
}
