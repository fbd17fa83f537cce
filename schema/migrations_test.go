package schema_test

import (
	"context"
	"database/sql"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/schema"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func open(t *testing.T) (*sql.DB, *testenv.PostgresEnv) {
	t.Helper()
	env := testenv.Postgres(t)
	db := stdlib.OpenDBFromPool(env.Pool)
	t.Cleanup(func() { _ = db.Close() })
	return db, env
}

func tables(t *testing.T, env *testenv.PostgresEnv) []string {
	t.Helper()
	rows, err := env.Pool.Query(t.Context(), `SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		out = append(out, name)
	}
	return out
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	db, env := open(t)
	ctx := t.Context()
	before, err := schema.Pending(ctx, db)
	if err != nil || len(before) == 0 {
		t.Fatalf("Pending = %v, %v on an empty schema", before, err)
	}
	if got := tables(t, env); len(got) != 0 {
		t.Fatalf("Pending made %v", got)
	}
	applied, err := schema.Migrate(ctx, db)
	if err != nil || !slices.Equal(applied, before) {
		t.Fatalf("Migrate = %v, %v, want %v", applied, err, before)
	}
	if again, err := schema.Migrate(ctx, db); err != nil || len(again) != 0 {
		t.Fatalf("a second Migrate = %v, %v", again, err)
	}
	if after, err := schema.Pending(ctx, db); err != nil || len(after) != 0 {
		t.Fatalf("Pending = %v, %v after Migrate", after, err)
	}
	if got := tables(t, env); !slices.Contains(got, "permanent_blocks") {
		t.Fatalf("tables %v", got)
	}
}

// TestConcurrentMigrate: a rolling deploy starts several at the same time.
func TestConcurrentMigrate(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	const starts = 4
	type result struct {
		applied []string
		err     error
	}
	results := make(chan result, starts)
	for range starts {
		go func() {
			applied, err := schema.Migrate(context.Background(), db)
			results <- result{applied, err}
		}()
	}
	worked := 0
	for range starts {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		if len(r.applied) > 0 {
			worked++
		}
	}
	if worked != 1 {
		t.Errorf("%d of %d applied migrations", worked, starts)
	}
}

// TestMigrateEachSchemaOfSearchPath: what one schema of the search_path has, the first may still
// lack.
func TestMigrateEachSchemaOfSearchPath(t *testing.T) {
	t.Parallel()
	first, env := open(t)
	if _, err := schema.Migrate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second, other := open(t)
	if pending, err := schema.Pending(t.Context(), second); err != nil || len(pending) == 0 {
		t.Errorf("Pending = %v, %v", pending, err)
	}
	if got := tables(t, other); len(got) != 0 {
		t.Errorf("tables %v", got)
	}
	if got := tables(t, env); len(got) != 2 {
		t.Errorf("tables %v", got)
	}
}

// TestColumns: the table's columns are what other software reads and writes by name: their types,
// whether they may be null, and what a row has that names the scope alone.
func TestColumns(t *testing.T) {
	t.Parallel()
	db, env := open(t)
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	rows, err := env.Pool.Query(t.Context(), `SELECT column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'permanent_blocks' ORDER BY ordinal_position`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"id bigint NO ", "scope_type text NO ", "scope_value text NO ", "reason text NO ''::text", "rule_name text NO ''::text",
		"status_code smallint NO 429", "message text NO 'Request blocked by audit enforcement policy'::text", "metadata jsonb NO '{}'::jsonb",
		"created_at timestamp with time zone NO now()", "expires_at timestamp with time zone YES ", "revoked_at timestamp with time zone YES ",
		"revoked_by text NO ''::text", "revoked_reason text NO ''::text",
	}
	if !slices.Equal(got, want) {
		t.Errorf("columns\n%q\nwant\n%q", got, want)
	}
}

func TestRowsByHand(t *testing.T) {
	t.Parallel()
	db, env := open(t)
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	insert := func(columns, values string) error {
		_, err := env.Pool.Exec(t.Context(), `INSERT INTO permanent_blocks (`+columns+`) VALUES (`+values+`)`)
		return err
	}
	if err := insert("scope_type, scope_value", "'user', '42'"); err != nil {
		t.Errorf("a row with the scope alone: %v", err)
	}
	if err := insert("scope_type, scope_value", "'user', '42'"); err == nil {
		t.Error("a scope has two active rows")
	}
	for range 2 {
		if err := insert("scope_type, scope_value, revoked_at", "'user', '42', now()"); err != nil {
			t.Errorf("a revoked row: %v", err)
		}
	}
	for _, bad := range []string{"'', 'x', 429", "'user', '', 429", "'user', 'y', 7"} {
		if err := insert("scope_type, scope_value, status_code", bad); err == nil {
			t.Errorf("row (%s) was taken", bad)
		}
	}
}

func TestMigrateWithoutSchemaFails(t *testing.T) {
	t.Parallel()
	config, err := pgx.ParseConfig(testenv.Postgres(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams = map[string]string{"search_path": "nowhere"}
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = db.Close() })
	if _, err := schema.Migrate(t.Context(), db); err == nil {
		t.Error("Migrate found a place for its tables")
	}
}
