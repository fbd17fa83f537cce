// Package pglookup is a [checker.Lookup] over Postgres. It runs one prepared query for all scopes
// of a request. Use it in services that cannot reach Redis, or for permanent blocks while the
// membership hash in Redis is incomplete (see redislookup.WithColdLookup).
package pglookup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wardstream/wardstream/pkg/checker"
)

// DefaultTable is the table of permanent blocks.
const DefaultTable = "permanent_blocks"

// maxPrepared is the largest number of scopes for which the statement is built in advance. Requests
// have two to five.
const maxPrepared = 8

// A Querier runs queries. Use a *pgxpool.Pool to serve requests; a connection and a transaction
// work too.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// A Lookup finds blocks in Postgres. It is as safe for concurrent use as its Querier.
type Lookup struct {
	db       Querier
	table    string                  // quoted
	prepared [maxPrepared + 1]string // by number of scopes
	now      func() time.Time
}

// An Option configures a [Lookup].
type Option func(*Lookup) error

// WithTable sets the table, as "table" or "schema.table". The default is [DefaultTable].
func WithTable(name string) Option {
	return func(l *Lookup) error {
		if name == "" {
			return nil
		}
		parts := strings.Split(name, ".")
		for _, part := range parts {
			if part == "" || len(parts) > 2 {
				return fmt.Errorf("table name %q is neither table nor schema.table", name)
			}
		}
		l.table = pgx.Identifier(parts).Sanitize()
		return nil
	}
}

// WithClock replaces [time.Now] as the clock by which blocks expire.
func WithClock(now func() time.Time) Option {
	return func(l *Lookup) error {
		l.now = now
		return nil
	}
}

// New returns a Lookup over db, which the caller closes. It does not open a connection.
func New(db Querier, opts ...Option) (*Lookup, error) {
	if db == nil {
		return nil, errors.New("make Postgres look-up: no database given")
	}
	l := &Lookup{db: db, table: pgx.Identifier{DefaultTable}.Sanitize(), now: time.Now}
	for _, opt := range opts {
		if err := opt(l); err != nil {
			return nil, fmt.Errorf("make Postgres look-up: %w", err)
		}
	}
	for n := 1; n <= maxPrepared; n++ {
		l.prepared[n] = statement(l.table, n)
	}
	return l, nil
}

// HonoursDeadline reports whether Lookup returns by its context's deadline. It does over a
// *pgxpool.Pool.
func (l *Lookup) HonoursDeadline() bool {
	_, ok := l.db.(*pgxpool.Pool)
	return ok
}

// Lookup implements [checker.Lookup]. The blocks have no metadata.
func (l *Lookup) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	args := make([]any, 1, 1+2*len(scopes))
	args[0] = l.now()
	for _, s := range scopes {
		if storable(s.Type) && storable(s.Value) {
			args = append(args, s.Type, s.Value)
		}
	}
	n := len(args) / 2
	if n == 0 {
		return nil, nil
	}
	rows, err := l.db.Query(ctx, l.statement(n), args...)
	if err != nil {
		return nil, fmt.Errorf("query permanent blocks: %w", err)
	}
	blocks, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("read permanent blocks: %w", err)
	}
	return blocks, nil
}

func (l *Lookup) statement(n int) string {
	if n <= maxPrepared {
		return l.prepared[n]
	}
	return statement(l.table, n)
}

// storable reports whether Postgres can hold text. Other values cannot be blocked, and querying
// them would be an error that clients could cause at will.
func storable(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

// statement returns the query for n scopes. $1 is the time; the pairs of type and value start at
// $2. Each pair of the OR is one lookup in the partial unique index on (scope_type, scope_value)
// where revoked_at is null (permanent_blocks_active; uniq_active_block_per_scope in the Python
// library's schema). Postgres plans this form once per connection, and an array at every call.
func statement(table string, n int) string {
	var b strings.Builder
	b.WriteString(`SELECT scope_type, scope_value, coalesce(reason, ''), coalesce(rule_name, ''), coalesce(status_code, 0), ` +
		`coalesce(message, ''), created_at, nullif(expires_at, 'infinity') FROM `)
	b.WriteString(table)
	b.WriteString(` WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at >= $1) AND (`)
	for i := range n {
		if i > 0 {
			b.WriteString(` OR `)
		}
		b.WriteString(`(scope_type = $` + strconv.Itoa(2*i+2) + ` AND scope_value = $` + strconv.Itoa(2*i+3) + `)`)
	}
	b.WriteString(`)`)
	return b.String()
}

func scan(row pgx.CollectableRow) (checker.Block, error) {
	var b checker.Block
	var created, expires *time.Time
	err := row.Scan(&b.Scope.Type, &b.Scope.Value, &b.Reason, &b.Rule, &b.StatusCode, &b.Message, &created, &expires)
	if err != nil {
		return checker.Block{}, fmt.Errorf("read row: %w", err)
	}
	if created != nil {
		b.CreatedAt = created.UTC()
	}
	if expires != nil {
		b.ExpiresAt = expires.UTC()
	}
	return b, nil
}
