// Package schema holds what Wardstream agrees on with others: the SQL
// migrations of its Postgres tables, the JSON Schemas of events and configuration, the
// AsyncAPI description of its streams.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versions is the table in which goose remembers what it applied.
const versions = "wardstream_migrations"

// The lock on a schema is asked for once a second, at most this often.
const lockAttempts = 300

// Migrate brings the tables of the connection's schema (the first of its
// search_path that exists) up to date and returns the names of the migrations it applied.
// Any number of processes may call it at the same time: one works, the others wait for it.
func Migrate(ctx context.Context, db *sql.DB) ([]string, error) {
	p, err := provider(ctx, db)
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	names := make([]string, len(results))
	for i, r := range results {
		names[i] = r.Source.Path
	}
	return names, nil
}

// Pending returns the names of the migrations that Migrate would apply. It
// changes nothing in the database.
func Pending(ctx context.Context, db *sql.DB) ([]string, error) {
	p, err := provider(ctx, db)
	if err != nil {
		return nil, err
	}
	// goose would create its table to look into it.
	var exists bool
	err = db.QueryRowContext(ctx, `SELECT to_regclass(format('%I.%I', current_schema(), $1::text)) IS NOT NULL`, versions).Scan(&exists)
	if err != nil {
		return nil, fmt.Errorf("look for pending migrations: %w", err)
	}
	sources := p.ListSources()
	if !exists {
		return names(sources), nil
	}
	applied, _, err := p.GetVersions(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for pending migrations: %w", err)
	}
	return names(slices.DeleteFunc(sources, func(s *goose.Source) bool { return s.Version <= applied })), nil
}

func names(sources []*goose.Source) []string {
	out := make([]string, len(sources))
	for i, s := range sources {
		out[i] = s.Path
	}
	return out
}

var errNoSchema = errors.New("the search_path names no schema that exists")

// provider makes goose's migrator. Its lock is the schema's own, so that
// installations in one database don't wait for each other.
func provider(ctx context.Context, db *sql.DB) (*goose.Provider, error) {
	var current sql.NullString
	if err := db.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&current); err != nil {
		return nil, fmt.Errorf("read schema name: %w", err)
	}
	if !current.Valid {
		return nil, fmt.Errorf("read schema name: %w", errNoSchema)
	}
	id := fnv.New64a()
	_, _ = id.Write([]byte("wardstream migrations of " + current.String))
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(int64(id.Sum64())), //nolint:gosec // any 64 bits will do
		lock.WithLockTimeout(1, lockAttempts), lock.WithUnlockTimeout(1, lockAttempts),
	)
	if err != nil {
		return nil, fmt.Errorf("make migration lock: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker),
		goose.WithTableName(versions), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("make migrator: %w", err)
	}
	return p, nil
}
