package pglookup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/schema"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

var (
	user    = checker.Scope{Type: checker.ScopeUser, Value: "42"}
	session = checker.Scope{Type: checker.ScopeSession, Value: strings.Repeat("s", 3000)}
	address = checker.Scope{Type: checker.ScopeIP, Value: "203.0.113.9"}
	all     = []checker.Scope{user, session, address}
)

// migrated returns a share of Postgres that has the table.
func migrated(t testing.TB) *testenv.PostgresEnv {
	t.Helper()
	env := testenv.Postgres(t)
	db := stdlib.OpenDBFromPool(env.Pool)
	defer db.Close()
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return env
}

func lookup(t testing.TB, db Querier, opts ...Option) *Lookup {
	t.Helper()
	l, err := New(db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func execute(t testing.TB, env *testenv.PostgresEnv, sql string, args ...any) {
	t.Helper()
	if _, err := env.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// insert writes a row with the values of b.
func insert(t testing.TB, env *testenv.PostgresEnv, table string, b checker.Block, revoked *time.Time) {
	t.Helper()
	var expires *time.Time
	if !b.Permanent() {
		expires = &b.ExpiresAt
	}
	execute(t, env, `INSERT INTO `+table+` (scope_type, scope_value, reason, rule_name, status_code, message, metadata, created_at, expires_at, revoked_at,
		revoked_by, revoked_reason) VALUES ($1, $2, $3, $4, $5, $6, '{}', $7, $8, $9, '', '')`,
		b.Scope.Type, b.Scope.Value, b.Reason, b.Rule, b.StatusCode, b.Message, b.CreatedAt, expires, revoked)
}

func made(scope checker.Scope, message string, ttl time.Duration) checker.Block {
	now := time.Now().UTC().Truncate(time.Microsecond)
	b := checker.Block{Scope: scope, Reason: "why", Rule: "r", StatusCode: 403, Message: message, CreatedAt: now}
	if ttl != 0 {
		b.ExpiresAt = now.Add(ttl)
	}
	return b
}

func messages(blocks []checker.Block) []string {
	out := []string{}
	for _, b := range blocks {
		out = append(out, b.Scope.Type+":"+b.Message)
	}
	slices.Sort(out)
	return out
}

func TestLookup(t *testing.T) {
	t.Parallel()
	past := time.Now().Add(-time.Hour)
	type row struct {
		block   checker.Block
		revoked *time.Time
	}
	cases := map[string]struct {
		rows []row
		want []string
	}{
		"nothing":       {nil, []string{}},
		"permanent":     {[]row{{made(user, "perm", 0), nil}}, []string{"user:perm"}},
		"temporary":     {[]row{{made(address, "temp", time.Minute), nil}}, []string{"ip:temp"}},
		"past its end":  {[]row{{made(address, "over", -time.Second), nil}}, []string{}},
		"revoked":       {[]row{{made(user, "revoked", 0), &past}}, []string{}},
		"blocked again": {[]row{{made(user, "old", 0), &past}, {made(user, "new", 0), nil}}, []string{"user:new"}},
		"several": {
			[]row{{made(user, "u", 0), nil}, {made(address, "a", 0), nil}, {made(checker.Scope{Type: "session", Value: "s1"}, "s", 0), nil}},
			[]string{"ip:a", "user:u"},
		},
		"others'":         {[]row{{made(checker.Scope{Type: "username", Value: "42"}, "x", 0), nil}, {made(checker.Scope{Type: "user", Value: "43"}, "x", 0), nil}}, []string{}},
		"pairs don't mix": {[]row{{made(checker.Scope{Type: "user", Value: "203.0.113.9"}, "x", 0), nil}}, []string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := migrated(t)
			for _, r := range tc.rows {
				insert(t, env, DefaultTable, r.block, r.revoked)
			}
			blocks, err := lookup(t, env.Pool).Lookup(t.Context(), all)
			if err != nil || !reflect.DeepEqual(messages(blocks), tc.want) {
				t.Fatalf("Lookup = %v, %v; want %v", messages(blocks), err, tc.want)
			}
		})
	}
}

func TestLookupReturnsWholeBlock(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	want := made(user, "temp", time.Minute)
	insert(t, env, DefaultTable, want, nil)
	blocks, err := lookup(t, env.Pool).Lookup(t.Context(), all)
	if err != nil || !reflect.DeepEqual(blocks, []checker.Block{want}) {
		t.Fatalf("Lookup = %+v, %v; want %+v", blocks, err, want)
	}
}

func TestLookupUsesItsClock(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	b := made(user, "temp", time.Minute)
	insert(t, env, DefaultTable, b, nil)
	for at, found := range map[time.Time]int{b.ExpiresAt: 1, b.ExpiresAt.Add(time.Microsecond): 0} {
		blocks, err := lookup(t, env.Pool, WithClock(func() time.Time { return at })).Lookup(t.Context(), all)
		if err != nil || len(blocks) != found {
			t.Errorf("at %v: %v, %v; want %d", at, blocks, err, found)
		}
	}
}

func TestExpiryAtInfinityIsPermanent(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	insert(t, env, DefaultTable, made(user, "perm", 0), nil)
	execute(t, env, `UPDATE permanent_blocks SET expires_at = 'infinity'`)
	blocks, err := lookup(t, env.Pool).Lookup(t.Context(), all)
	if err != nil || len(blocks) != 1 || !blocks[0].Permanent() {
		t.Fatalf("Lookup = %v, %v", blocks, err)
	}
}

// TestUnstorableValues: what a client can send and Postgres can't hold must not
// make the look-up fail, or the client would choose the fail mode.
func TestUnstorableValues(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	insert(t, env, DefaultTable, made(address, "a", 0), nil)
	l := lookup(t, env.Pool)
	for _, value := range []string{"\x00", "a\x00b", "\xff\xfe", "é\xc3"} {
		blocks, err := l.Lookup(t.Context(), []checker.Scope{{Type: "session", Value: value}, address})
		if err != nil || len(blocks) != 1 {
			t.Errorf("%q: %v, %v", value, blocks, err)
		}
		if blocks, err = l.Lookup(t.Context(), []checker.Scope{{Type: "session", Value: value}}); err != nil || len(blocks) != 0 {
			t.Errorf("%q alone: %v, %v", value, blocks, err)
		}
	}
	for _, value := range []string{"'; DROP TABLE permanent_blocks; --", `\`, "%", strings.Repeat("x", 1<<20)} {
		if blocks, err := l.Lookup(t.Context(), []checker.Scope{{Type: "user", Value: value}, address}); err != nil || len(blocks) != 1 {
			t.Errorf("%.30q: %v, %v", value, blocks, err)
		}
	}
}

func TestAnyNumberOfScopes(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	l := lookup(t, env.Pool)
	var scopes []checker.Scope
	for i := range 3 * maxPrepared {
		scopes = append(scopes, checker.Scope{Type: "user", Value: fmt.Sprint(i)})
		insert(t, env, DefaultTable, made(scopes[i], "b", 0), nil)
		if blocks, err := l.Lookup(t.Context(), scopes); err != nil || len(blocks) != len(scopes) {
			t.Fatalf("%d scopes: %d blocks, %v", len(scopes), len(blocks), err)
		}
	}
	if blocks, err := l.Lookup(t.Context(), nil); err != nil || len(blocks) != 0 {
		t.Fatalf("no scopes: %v, %v", blocks, err)
	}
}

// TestPythonLibraryTable reads the table that the Python library made.
func TestPythonLibraryTable(t *testing.T) {
	t.Parallel()
	env := testenv.Postgres(t)
	ddl, err := os.ReadFile("testdata/python_library.sql")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, env, string(ddl))
	const table = "sec_audit_enforcement_permanentblock"
	insert(t, env, table, made(user, "py", 0), nil)
	var own string
	if err := env.Pool.QueryRow(t.Context(), `SELECT current_schema()`).Scan(&own); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{table, own + "." + table} {
		blocks, err := lookup(t, env.Pool, WithTable(name)).Lookup(t.Context(), all)
		if err != nil || !reflect.DeepEqual(messages(blocks), []string{"user:py"}) {
			t.Errorf("table %s: %v, %v", name, blocks, err)
		}
	}
}

func TestTableNames(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	for _, bad := range []string{".", "a.", ".a", "a.b.c", "a..b"} {
		if _, err := New(env.Pool, WithTable(bad)); err == nil {
			t.Errorf("table %q is accepted", bad)
		}
	}
	if _, err := New(nil); err == nil {
		t.Error("no database is accepted")
	}
	hostile := lookup(t, env.Pool, WithTable(`permanent_blocks" WHERE true; --`))
	if _, err := hostile.Lookup(t.Context(), all); err == nil || !strings.Contains(err.Error(), "42P01") {
		t.Errorf("a quote in the name: %v, want an unknown table", err)
	}
}

// TestUsesTheIndex: the plan that a prepared statement settles on goes through
// the partial unique index, once for each scope.
func TestUsesTheIndex(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	execute(t, env, `INSERT INTO permanent_blocks (scope_type, scope_value, revoked_at)
		SELECT 'user', 'u' || i, CASE WHEN i % 2 = 0 THEN now() END FROM generate_series(1, 20000) i`)
	execute(t, env, `ANALYZE permanent_blocks`)
	conn, err := env.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, mode := range []string{"force_generic_plan", "force_custom_plan"} {
		plan := explain(t, conn.Conn(), mode)
		if strings.Contains(plan, "Seq Scan") || strings.Count(plan, "permanent_blocks_active") != 3 {
			t.Errorf("%s:\n%s", mode, plan)
		}
	}
}

func explain(t *testing.T, conn *pgx.Conn, mode string) string {
	t.Helper()
	var plan []string
	for _, sql := range []string{
		"SET plan_cache_mode = " + mode,
		"PREPARE look" + mode + " AS " + statement(DefaultTable, 3),
		"EXPLAIN EXECUTE look" + mode + "(now(), 'user', 'u1', 'session', 's', 'ip', '203.0.113.9')",
	} {
		results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		for _, row := range results[0].Rows {
			plan = append(plan, string(row[0]))
		}
	}
	return strings.Join(plan, "\n")
}

func TestFailModes(t *testing.T) {
	t.Parallel()
	env := testenv.PrivatePostgres(t)
	c := checker.New(lookup(t, env.Pool), checker.WithTimeout(5*time.Second))
	d := c.Check(t.Context(), checker.Subject{User: "42", Path: "/x"})
	if d.Blocked || d.Err == nil || !strings.Contains(d.Err.Error(), "42P01") {
		t.Fatalf("without the table: %+v", d)
	}
	env.Stop()
	if d = c.Check(t.Context(), checker.Subject{User: "42", Path: "/x"}); d.Blocked || d.Err == nil {
		t.Fatalf("stopped: %+v", d)
	}
	env.Start()
	execute(t, &env.PostgresEnv, `CREATE TABLE permanent_blocks (scope_type text, scope_value text, reason text, rule_name text, status_code smallint,
		message text, created_at timestamptz, expires_at timestamptz, revoked_at timestamptz)`)
	execute(t, &env.PostgresEnv, `INSERT INTO permanent_blocks (scope_type, scope_value) VALUES ('user', '42')`)
	testenv.Eventually(t, 20*time.Second, func() error {
		d := c.Check(t.Context(), checker.Subject{User: "42"})
		if d.Err == nil && (!d.Blocked || d.StatusCode != checker.DefaultStatusCode || d.Message != checker.DefaultMessage) {
			return fmt.Errorf("a row of nulls: %+v", d)
		}
		return d.Err
	})
}

// TestSlowQueryEndsWithItsDeadline: a table that is locked holds no request.
func TestSlowQueryEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	tx, err := env.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err = tx.Exec(t.Context(), `LOCK TABLE permanent_blocks IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	d := checker.New(lookup(t, env.Pool)).Check(t.Context(), checker.Subject{User: "42"})
	if d.Blocked || !errors.Is(d.Err, context.DeadlineExceeded) {
		t.Fatalf("Check = %+v, want a timeout", d)
	}
}

func TestHonoursDeadline(t *testing.T) {
	t.Parallel()
	env := migrated(t)
	tx, err := env.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if !lookup(t, env.Pool).HonoursDeadline() || lookup(t, tx).HonoursDeadline() {
		t.Error("a pool honours deadlines; what is not known doesn't")
	}
}

func BenchmarkCheck(b *testing.B) {
	env := migrated(b)
	execute(b, env, `INSERT INTO permanent_blocks (scope_type, scope_value) SELECT 'user', 'u' || i FROM generate_series(1, 100000) i`)
	execute(b, env, `ANALYZE permanent_blocks`)
	b.Run("floor/prepared-or", func(b *testing.B) {
		sql := `SELECT scope_type, scope_value, status_code, message FROM permanent_blocks WHERE revoked_at IS NULL AND
			((scope_type = $1 AND scope_value = $2) OR (scope_type = $3 AND scope_value = $4) OR (scope_type = $5 AND scope_value = $6))`
		b.ReportAllocs()
		for b.Loop() {
			rows, err := env.Pool.Query(b.Context(), sql, "user", "42", "session", "s1", "ip", "203.0.113.9")
			if err != nil {
				b.Fatal(err)
			}
			rows.Close()
		}
	})
	c := checker.New(lookup(b, env.Pool), checker.WithTimeout(time.Minute))
	for name, s := range map[string]checker.Subject{
		"clean": {User: "42", Session: "s1", Username: "eve"}, "hit": {User: "u7", Session: "s1", Username: "eve"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := c.Check(b.Context(), s); d.Err != nil || d.Blocked != (name == "hit") {
					b.Fatalf("Check = %+v", d)
				}
			}
		})
	}
}
