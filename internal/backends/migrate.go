package backends

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/schema"
)

var (
	errNoPostgres   = errors.New("postgres.url is not set, so there is nothing to migrate; set it, or WARDSTREAM_POSTGRES_URL")
	errForeignTable = errors.New("only " + pgstore.DefaultTable + " is ours to make; leave postgres.table out, " +
		"and name another schema by the search_path of postgres.url (?options=-csearch_path%3Dname)")
)

// Migrate brings the database up to date and returns what it applied.
func (s *Stores) Migrate(ctx context.Context) ([]string, error) {
	switch {
	case s.Pool == nil:
		return nil, errNoPostgres
	case s.cfg.Postgres.Table != pgstore.DefaultTable:
		return nil, fmt.Errorf("postgres.table is %s: %w", s.cfg.Postgres.Table, errForeignTable)
	}
	db := stdlib.OpenDBFromPool(s.Pool)
	defer db.Close()
	applied, err := schema.Migrate(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("Postgres at %s %s: %w", s.cfg.Postgres.URL, postgresTrouble(err), err)
	}
	return applied, nil
}

// pending returns the migrations that have not been applied. The table of other software
// is not migrated.
func (s *Stores) pending(ctx context.Context, db *sql.DB) ([]string, error) {
	if s.cfg.Postgres.Table != pgstore.DefaultTable {
		return nil, s.Pool.Ping(ctx)
	}
	return schema.Pending(ctx, db)
}
