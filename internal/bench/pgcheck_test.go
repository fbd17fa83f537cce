package bench

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/pglookup"
	"github.com/wardstream/wardstream/schema"
)

// byHand is the query that a person would write for these scopes.
const byHand = `SELECT scope_type, scope_value, status_code, message FROM permanent_blocks WHERE revoked_at IS NULL AND
	((scope_type = $1 AND scope_value = $2) OR (scope_type = $3 AND scope_value = $4) OR (scope_type = $5 AND scope_value = $6)
	OR (scope_type = $5 AND scope_value = $7) OR (scope_type = $5 AND scope_value = $8))`

// TestBenchPostgresCheck measures a check of three scopes and the ranges of the address over
// Postgres beside a prepared query of the same by hand, in turn.
func TestBenchPostgresCheck(t *testing.T) {
	env := testenv.Postgres(t)
	db := stdlib.OpenDBFromPool(env.Pool)
	_, err := schema.Migrate(t.Context(), db)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = env.Pool.Exec(t.Context(), fmt.Sprintf(`INSERT INTO permanent_blocks (scope_type, scope_value, reason, rule_name)
		SELECT 'user', 'blocked-' || i, '', '' FROM generate_series(1, %d) i`, size(100_000, 100)))
	if err == nil {
		_, err = env.Pool.Exec(t.Context(), "ANALYZE permanent_blocks")
	}
	if err != nil {
		t.Fatal(err)
	}
	lookup, err := pglookup.New(env.Pool)
	if err != nil {
		t.Fatal(err)
	}
	c := checker.New(lookup, checker.WithTimeout(time.Second))
	manual := func() {
		rows, err := env.Pool.Query(t.Context(), byHand, "user", "42", "session", "s", "ip", "203.0.113.9", "203.0.113.0/24", "203.0.0.0/16")
		if err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	n := size(10_000, 20)
	checks, manuals := make([]time.Duration, n), make([]time.Duration, n)
	for i := range n {
		manuals[i], checks[i] = timed(manual), timed(func() { mustAllow(t, c) })
	}
	floor, value := quantile(manuals, .5), quantile(checks, .5)
	report(t, figure{
		Name: "postgres_check_p50", Value: value, Unit: "us", Samples: n,
		Floor: fmt.Sprintf("the query by hand, %.1f us", floor), Ratio: value / floor,
	})
}
