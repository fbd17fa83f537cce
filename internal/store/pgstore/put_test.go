package pgstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/pglookup"
)

func user(value string) checker.Scope { return checker.Scope{Type: checker.ScopeUser, Value: value} }

func block(sc checker.Scope, id string, permanent bool) store.Put {
	now := time.Now().UTC().Truncate(time.Millisecond)
	p := store.Put{EvidenceTime: now, Block: checker.Block{ID: id, Scope: sc, Rule: "r", StatusCode: 403, Message: "m", CreatedAt: now}}
	if !permanent {
		p.Block.ExpiresAt = now.Add(time.Hour)
	}
	return p
}

func migrated(t testing.TB) (*pgstore.Blocks, *pgxpool.Pool) {
	t.Helper()
	env := testenv.Postgres(t)
	storetest.Migrate(t, env.Pool)
	return over(t, env.Pool, ""), env.Pool
}

func over(t testing.TB, pool *pgxpool.Pool, table string) *pgstore.Blocks {
	t.Helper()
	b, err := pgstore.New(pool, pgstore.Options{Table: table})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func exec(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, pool *pgxpool.Pool, sql string) (n int) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func mustPut(t testing.TB, b store.Blocks, puts ...store.Put) []store.Result {
	t.Helper()
	results, err := b.Put(context.Background(), puts)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("put %d: %v", i, r.Err)
		}
	}
	return results
}

// TestPutUnstorableBlockDelaysNoOther: Postgres refuses one block of a batch for a reason
// that we don't check beforehand.
func TestPutUnstorableBlockDelaysNoOther(t *testing.T) {
	t.Parallel()
	b, pool := migrated(t)
	exec(t, pool, `ALTER TABLE permanent_blocks ADD CHECK (rule_name <> 'poison')`)
	poison := block(user("poisoned"), "p", true)
	poison.Block.Rule = "poison"
	var long []byte
	for i := range 4000 {
		long = append(long, byte('a'+(i*i*7+i/3)%26)) // doesn't compress, so it fits into no index
	}
	results, err := b.Put(t.Context(), []store.Put{block(user("1"), "a", true), poison, block(user("2"), "b", true), block(user(string(long)), "c", true)})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Err != nil || results[2].Err != nil || !errors.Is(results[1].Err, store.ErrUnstorable) {
		t.Errorf("results %+v", results)
	}
	if err := results[3].Err; err != nil && !errors.Is(err, store.ErrUnstorable) {
		t.Errorf("a long value: %v", err)
	}
	blocks, err := b.Lookup(t.Context(), []checker.Scope{user("1"), user("poisoned"), user("2")})
	if err != nil || len(blocks) != 2 {
		t.Errorf("Lookup = %+v, %v", blocks, err)
	}
}

// TestRowsRecordHistory looks at the rows that remain of a block's life.
func TestRowsRecordHistory(t *testing.T) {
	t.Parallel()
	b, pool := migrated(t)
	ctx := t.Context()
	mustPut(t, b, block(user("x"), "a", false), block(user("x"), "b", true))
	if _, err := b.Unblock(ctx, store.Revocation{Scope: user("x"), By: "ops\x00", Reason: "mistake \xff", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Unblock(ctx, store.Revocation{Scope: user("x"), By: "ops"}); err != nil {
		t.Fatal(err)
	}
	again := block(user("x"), "c", true)
	again.EvidenceTime = time.Now().Add(time.Minute)
	mustPut(t, b, again)
	rows, err := pool.Query(ctx, `SELECT metadata->>'enforcement.id' || ' ' || (revoked_at IS NULL)::text || ' ' || revoked_by || ' ' || revoked_reason
FROM permanent_blocks WHERE metadata ? 'enforcement.id' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	want := []string{"b false ops mistake \uFFFD", "c true  "}
	if err := rows.Err(); err != nil || !slices.Equal(got, want) {
		t.Errorf("rows %q, %v, want %q", got, err, want)
	}
}

// TestPutRepeatedWritesNothing: what changes nothing leaves no dead row.
func TestPutRepeatedWritesNothing(t *testing.T) {
	t.Parallel()
	b, pool := migrated(t)
	perm, temp := block(user("p"), "a", true), block(user("t"), "b", false)
	mustPut(t, b, perm, temp)
	const version = `SELECT sum(xmin::text::bigint)::int FROM permanent_blocks`
	before := count(t, pool, version)
	for i := range 5 {
		mustPut(t, b, perm, temp, block(user("p"), fmt.Sprint("other", i), true))
	}
	if after := count(t, pool, version); after != before {
		t.Error("repeated matches wrote rows again")
	}
}

// TestPutBesideForeignWriter: another program blocks the same scopes at the same time,
// without our locks.
func TestPutBesideForeignWriter(t *testing.T) {
	t.Parallel()
	b, pool := migrated(t)
	ctx := t.Context()
	done := make(chan error, 1)
	go func() {
		for i := range 100 {
			if _, err := pool.Exec(ctx, `INSERT INTO permanent_blocks (scope_type, scope_value, rule_name) VALUES ('user', $1, 'theirs')
ON CONFLICT (scope_type, scope_value) WHERE revoked_at IS NULL DO UPDATE SET rule_name = 'theirs', expires_at = NULL`, fmt.Sprint(i%10)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range 100 {
		mustPut(t, b, block(user(fmt.Sprint(i%10)), fmt.Sprint(i), i%2 == 0))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := count(t, pool, `SELECT count(*) FROM permanent_blocks WHERE revoked_at IS NULL AND expires_at IS NULL`); n != 10 {
		t.Errorf("%d permanent blocks, want 10", n)
	}
}

// TestPutOppositeOrdersDoNotDeadlock: batches over the same scopes in opposite orders.
func TestPutOppositeOrdersDoNotDeadlock(t *testing.T) {
	t.Parallel()
	b, _ := migrated(t)
	puts := make([]store.Put, 50)
	for i := range puts {
		puts[i] = block(user(fmt.Sprint(i)), "a", i%2 == 0)
	}
	backwards := slices.Clone(puts)
	slices.Reverse(backwards)
	errs := make(chan error, 20)
	for i := range cap(errs) {
		batch := puts
		if i%2 == 0 {
			batch = backwards
		}
		go func() {
			_, err := b.Put(context.Background(), batch)
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	env := testenv.Postgres(t)
	ctx := t.Context()
	missing := over(t, env.Pool, "")
	if err := missing.Check(ctx); !errors.Is(err, pgstore.ErrNoTable) {
		t.Errorf("Check: %v", err)
	}
	if _, err := missing.Put(ctx, []store.Put{block(user("x"), "a", true)}); !errors.Is(err, pgstore.ErrNoTable) || !store.Unavailable(err) {
		t.Errorf("Put: %v", err)
	}
	if _, err := missing.List(ctx, 0); !errors.Is(err, pgstore.ErrNoTable) || !strings.Contains(err.Error(), "run detector migrate") {
		t.Errorf("List: %v", err)
	}
	if _, err := over(t, env.Pool, "other").Lookup(ctx, []checker.Scope{{Type: "user", Value: "x"}}); !errors.Is(err, pgstore.ErrNoTable) || !strings.Contains(err.Error(), "correct postgres.table") {
		t.Errorf("Lookup: %v", err)
	}
	storetest.Migrate(t, env.Pool)
	if err := missing.Check(ctx); err != nil {
		t.Errorf("Check after migrating: %v", err)
	}
	var schema string
	if err := env.Pool.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		t.Fatal(err)
	}
	exec(t, env.Pool, `ALTER TABLE permanent_blocks RENAME TO "odd ""name"`)
	qualified := over(t, env.Pool, schema+`.odd "name`)
	mustPut(t, qualified, block(user("x"), "a", true))
	if blocks, err := qualified.List(ctx, 0); err != nil || len(blocks) != 1 {
		t.Errorf("List = %+v, %v", blocks, err)
	}
	for _, bad := range []string{"a.b.c", ".", "a.", ".a"} {
		if _, err := pgstore.New(env.Pool, pgstore.Options{Table: bad}); err == nil {
			t.Errorf("table %q was taken", bad)
		}
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b, pool := migrated(t)
	old := block(user("old"), "a", false)
	old.Block.ExpiresAt = time.Now().Add(time.Second)
	mustPut(t, b, old, block(user("held"), "b", false), block(user("p"), "c", true))
	exec(t, pool, `INSERT INTO permanent_blocks (scope_type, scope_value, expires_at) VALUES ('user', 'theirs', now() - interval '1 year')`)
	exec(t, pool, `UPDATE permanent_blocks SET expires_at = now() - interval '2 days' WHERE scope_value = 'old'`)
	if n, err := b.Purge(t.Context(), time.Now().Add(-24*time.Hour)); err != nil || n != 1 {
		t.Errorf("Purge = %d, %v", n, err)
	}
	if n := count(t, pool, `SELECT count(*) FROM permanent_blocks`); n != 3 {
		t.Errorf("%d rows are left, want 3", n)
	}
}

// TestIndexes: statements go by the indexes that their comments name.
func TestIndexes(t *testing.T) {
	t.Parallel()
	b, pool := migrated(t)
	exec(t, pool, `INSERT INTO permanent_blocks (scope_type, scope_value, revoked_at)
SELECT 'user', n, CASE WHEN n % 10 > 0 THEN now() - n * interval '1 minute' END FROM generate_series(1, 20000) n`)
	exec(t, pool, `ANALYZE permanent_blocks`)
	for name, want := range map[string][]string{
		"lookup":    {"permanent_blocks_active"},
		"state":     {"permanent_blocks_active", "permanent_blocks_revoked"},
		"lift":      {"permanent_blocks_revoked"},
		"revoke":    {"permanent_blocks_active"},
		"tombstone": {"permanent_blocks_revoked"},
		"changed":   {"permanent_blocks_listing"},
	} {
		sql, args := b.Statement(name)
		rows, err := pool.Query(t.Context(), `EXPLAIN `+sql, args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var plan strings.Builder
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(line + "\n")
		}
		rows.Close()
		for _, index := range want {
			if !strings.Contains(plan.String(), index) || strings.Contains(plan.String(), "Seq Scan") {
				t.Errorf("%s doesn't go by %s:\n%s", name, index, plan.String())
			}
		}
	}
}

// TestPublicLookupAgrees: services that read Postgres themselves see the same blocks.
func TestPublicLookupAgrees(t *testing.T) {
	t.Parallel()
	b, pool := migrated(t)
	mustPut(t, b, block(user("p"), "a", true), block(user("t"), "b", false), block(user("gone"), "c", true))
	if _, err := b.Unblock(t.Context(), store.Revocation{Scope: user("gone")}); err != nil {
		t.Fatal(err)
	}
	public, err := pglookup.New(pool)
	if err != nil {
		t.Fatal(err)
	}
	scopes := []checker.Scope{user("p"), user("t"), user("gone"), user("never")}
	ours, err := b.Lookup(t.Context(), scopes)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := public.Lookup(t.Context(), scopes)
	if err != nil || len(theirs) != 2 || len(ours) != 2 {
		t.Fatalf("public look-up %+v, %v; ours %+v", theirs, err, ours)
	}
	for i := range ours {
		ours[i].ID, ours[i].Metadata = "", nil
		if asJSON(ours[i]) != asJSON(theirs[i]) {
			t.Errorf("public look-up %s, ours %s", asJSON(theirs[i]), asJSON(ours[i]))
		}
	}
}

func asJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
