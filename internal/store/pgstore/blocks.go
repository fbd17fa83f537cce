// Package pgstore stores blocks in Postgres: permanent blocks, for which it is authoritative, and
// optionally temporary ones for services that can reach only Postgres. The table is Wardstream's
// (schema.Migrate) or the Python library's.
package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// DefaultTable is the table that our migrations make.
const DefaultTable = "permanent_blocks"

const (
	longTimeouts   = 10
	undefinedTable = "42P01" // SQLSTATE
)

// ErrNoTable is in the chain of the error that says that the table does not exist, and what to do.
var ErrNoTable = errors.New("does not exist")

// Options configure Blocks; zero values mean the defaults.
type Options struct {
	// Table is "table" or "schema.table"; DefaultTable, found by the search_path.
	Table string
	// Timeout bounds a call that reads or writes some blocks; DefaultTimeout. Calls about all
	// blocks have ten times as long. Nothing else detects a connection that no longer answers.
	Timeout time.Duration
	// Now is the clock by which blocks expire; time.Now.
	Now func() time.Time
}

// DefaultTimeout is Options.Timeout unless set.
const DefaultTimeout = 5 * time.Second

// Blocks is a [store.Blocks] over Postgres. Put decides outcomes in this process while it holds an
// advisory lock on each scope, and writes only what changes.
type Blocks struct {
	pool    *pgxpool.Pool
	table   string // quoted
	noTable error  // wraps ErrNoTable
	sql     statements
	timeout time.Duration
	now     func() time.Time

	mu     sync.Mutex
	limits map[string]int // characters that a column holds; nil until read
}

var _ store.Blocks = (*Blocks)(nil)

// New returns Blocks over pool, which the caller closes. It does not open a connection.
func New(pool *pgxpool.Pool, o Options) (*Blocks, error) {
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	parts := strings.Split(o.Table, ".")
	if len(parts) > 2 || slices.Contains(parts, "") {
		return nil, fmt.Errorf("make Postgres block store: %q is neither table nor schema.table", o.Table)
	}
	table := pgx.Identifier(parts).Sanitize()
	return &Blocks{
		pool: pool, table: table, noTable: noTable(o.Table), sql: newStatements(table), timeout: o.Timeout, now: o.Now,
	}, nil
}

// noTable returns the error for a table that does not exist. Only the default one is created by
// migrations.
func noTable(table string) error {
	remedy := "run detector migrate"
	if table != DefaultTable {
		remedy = "correct postgres.table"
	}
	return fmt.Errorf("table %s %w; %s", table, ErrNoTable, remedy)
}

// Check returns nil if the table can be read, and ErrNoTable if it does not exist.
func (b *Blocks) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if _, err := b.columnLimits(ctx); err != nil {
		return err
	}
	if _, err := b.List(ctx, 1); err != nil {
		return err
	}
	return nil
}

// columnLimits returns the maximum number of characters of columns that have a limit.
func (b *Blocks) columnLimits(ctx context.Context) (map[string]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limits != nil {
		return b.limits, nil
	}
	var exists bool
	if err := b.pool.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, b.table).Scan(&exists); err != nil {
		return nil, fmt.Errorf("look for table %s: %w", b.table, err)
	}
	if !exists {
		return nil, b.noTable
	}
	rows, err := b.pool.Query(ctx, limitsSQL, b.table)
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", b.table, err)
	}
	limits := map[string]int{}
	var name string
	var limit int
	_, err = pgx.ForEachRow(rows, []any{&name, &limit}, func() error {
		limits[name] = limit
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", b.table, err)
	}
	b.limits = limits
	return limits, nil
}

// Lookup implements [checker.Lookup].
func (b *Blocks) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	types, values := storableScopes(scopes)
	if len(types) == 0 {
		return nil, nil
	}
	blocks, err := b.query(ctx, b.sql.lookup, b.now(), types, values)
	if err != nil {
		return nil, fmt.Errorf("look blocks up: %w", err)
	}
	return blocks, nil
}

// storableScopes splits scopes into types and values. It leaves out scopes that Postgres cannot
// hold.
func storableScopes(scopes []checker.Scope) (types, values []string) {
	for _, s := range scopes {
		if storable(s.Type) && storable(s.Value) {
			types, values = append(types, s.Type), append(values, s.Value)
		}
	}
	return types, values
}

func storable(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }

// List implements [store.Blocks].
func (b *Blocks) List(ctx context.Context, limit int) ([]checker.Block, error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeouts*b.timeout)
	defer cancel()
	var rows *int
	if limit > 0 {
		rows = &limit
	}
	blocks, err := b.query(ctx, b.sql.list, b.now(), rows)
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return blocks, nil
}

// Each calls fn for every active block of a consistent snapshot, row by row, so that memory stays
// bounded. An error of fn ends it. Its duration depends on fn and must be bounded by ctx.
func (b *Blocks) Each(ctx context.Context, fn func(checker.Block) error) error {
	rows, err := b.pool.Query(ctx, b.sql.each, b.now())
	if err != nil {
		return fmt.Errorf("read blocks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		s, err := scan(rows)
		if err != nil {
			return fmt.Errorf("read blocks: %w", err)
		}
		if err := fn(s.Block); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read blocks: %w", err)
	}
	return nil
}

func (b *Blocks) query(ctx context.Context, sql string, args ...any) ([]checker.Block, error) {
	rows, err := b.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, b.explain("query", err)
	}
	blocks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (checker.Block, error) {
		s, err := scan(row)
		return s.Block, err
	})
	if err != nil {
		return nil, b.explain("read", err)
	}
	return blocks, nil
}

// explain adds to an error of a statement what to do if the table does not exist.
func (b *Blocks) explain(doing string, err error) error {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == undefinedTable {
		return b.noTable
	}
	return fmt.Errorf("%s %s: %w", doing, b.table, err)
}

// Changed returns at most limit scopes that were blocked or unblocked, by any software, since the
// given time.
func (b *Blocks) Changed(ctx context.Context, since time.Time, limit int) ([]checker.Scope, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	rows, err := b.pool.Query(ctx, b.sql.changed, since, limit)
	if err != nil {
		return nil, b.explain("read changes of", err)
	}
	scopes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[checker.Scope])
	if err != nil {
		return nil, b.explain("read changes of", err)
	}
	return scopes, nil
}

// Purge deletes Wardstream's temporary blocks that expired before the given time and returns their
// number. It keeps permanent and revoked rows.
func (b *Blocks) Purge(ctx context.Context, before time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeouts*b.timeout)
	defer cancel()
	tag, err := b.pool.Exec(ctx, b.sql.purge, before)
	if err != nil {
		return 0, fmt.Errorf("purge ended blocks: %w", err)
	}
	return tag.RowsAffected(), nil
}

// lock takes the advisory locks on scopes until the end of the transaction, in the same order in
// every process, to avoid deadlocks.
func (b *Blocks) lock(batch *pgx.Batch, scopes []checker.Scope) {
	keys := make([]int64, len(scopes))
	for i, s := range scopes {
		sum := sha256.Sum256([]byte(b.table + "\x00" + s.Type + "\x00" + s.Value))
		keys[i] = int64(binary.BigEndian.Uint64(sum[:])) //nolint:gosec // any 64 bits will do
	}
	slices.Sort(keys)
	batch.Queue(lockSQL, slices.Compact(keys))
}
