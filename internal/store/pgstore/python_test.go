package pgstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestPythonTable: the library's table, with its short columns that have no
// defaults.
func TestPythonTable(t *testing.T) {
	t.Parallel()
	env := testenv.Postgres(t)
	exec(t, env.Pool, storetest.PythonTable)
	b := over(t, env.Pool, storetest.PythonTableName)
	long := block(user("x"), strings.Repeat("i", 200), true)
	long.Block.Reason, long.Block.Message, long.Block.Rule = strings.Repeat("é", 300), strings.Repeat("m", 300), strings.Repeat("r", 300)
	tooLong, longType := block(user(strings.Repeat("v", 256)), "b", true), block(checker.Scope{Type: strings.Repeat("t", 33), Value: "x"}, "c", true)
	results, err := b.Put(t.Context(), []store.Put{long, tooLong, longType, block(user(strings.Repeat("é", 255)), "d", true), block(user("temp"), "e", false)})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, false, true, true} {
		if ok := results[i].Err == nil; ok != want || !ok && !errors.Is(results[i].Err, store.ErrUnstorable) {
			t.Errorf("put %d: %v", i, results[i].Err)
		}
	}
	found, err := b.Lookup(t.Context(), []checker.Scope{user("x"), tooLong.Block.Scope, longType.Block.Scope})
	if err != nil || len(found) != 1 || found[0].Reason != strings.Repeat("é", 255) || len(found[0].Rule) != 128 || found[0].ID != long.Block.ID {
		t.Fatalf("Lookup = %+v, %v", found, err)
	}
	if lifted, err := b.Unblock(t.Context(), store.Revocation{Scope: user("x"), By: strings.Repeat("o", 200), Reason: strings.Repeat("p", 300)}); err != nil || len(lifted) != 1 {
		t.Fatalf("Unblock = %+v, %v", lifted, err)
	}
	for _, sc := range []checker.Scope{tooLong.Block.Scope, user("never")} {
		if lifted, err := b.Unblock(t.Context(), store.Revocation{Scope: sc}); err != nil || len(lifted) != 0 {
			t.Fatalf("Unblock(%q) = %+v, %v", sc, lifted, err)
		}
	}
}

func TestPythonTableConformance(t *testing.T) {
	t.Parallel()
	storetest.Model(t, func(t *testing.T) storetest.Backend {
		t.Helper()
		env := testenv.Postgres(t)
		exec(t, env.Pool, storetest.PythonTable)
		clock := storetest.NewClock()
		b, err := pgstore.New(env.Pool, pgstore.Options{Table: storetest.PythonTableName, Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Backend{Blocks: b, Now: clock.Now, Reach: clock.Reach, Movable: true, Longest: 255}
	})
}

// TestPythonRows: what the library's users did counts as our own doing.
func TestPythonRows(t *testing.T) {
	t.Parallel()
	env := testenv.Postgres(t)
	exec(t, env.Pool, storetest.PythonTable)
	b := over(t, env.Pool, storetest.PythonTableName)
	at := time.Now().UTC().Truncate(time.Millisecond)
	insert := func(value, metadata string, expires, revoked any) {
		exec(t, env.Pool, `INSERT INTO `+storetest.PythonTableName+` (scope_type, scope_value, reason, rule_name, status_code, message, metadata,
created_at, expires_at, revoked_at, revoked_by, revoked_reason) VALUES ('user', $1, '', 'manual', 401, '', $2, $3, $4, $5, '', '')`,
			value, metadata, at.Add(-time.Hour), expires, revoked)
	}
	insert("held", `{"changed_fields": ["email"]}`, nil, nil)
	insert("list", `[1]`, nil, nil)
	insert("durable", `{}`, at.Add(30*time.Minute), nil)
	insert("ended", `{}`, at.Add(-time.Minute), nil)
	insert("forever", `{}`, "infinity", nil)
	insert("revoked", `{}`, nil, at)
	blocks, err := b.List(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, bl := range blocks {
		got = append(got, fmt.Sprint(bl.Scope.Value, bl.Permanent()))
	}
	if want := []string{"forevertrue", "heldtrue", "listtrue", "durablefalse"}; !slices.Equal(got, want) {
		t.Errorf("List = %v, want %v", got, want)
	}
	old := block(user("revoked"), "a", true)
	old.EvidenceTime = at
	results := mustPut(t, b, old, block(user("held"), "b", true), block(user("durable"), "c", true), block(user("ended"), "d", true))
	for i, want := range []store.Outcome{store.Unblocked, store.Kept, store.BecamePermanent, store.Began} {
		if results[i].Outcome != want {
			t.Errorf("put %d: outcome %d, want %d", i, results[i].Outcome, want)
		}
	}
	changed, err := b.Changed(t.Context(), at.Add(-time.Minute), 100)
	if err != nil || !slices.Contains(changed, user("revoked")) || slices.Contains(changed, user("held")) {
		t.Errorf("Changed = %v, %v", changed, err)
	}
}
