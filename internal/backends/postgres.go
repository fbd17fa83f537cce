package backends

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/postgresurl"
	"github.com/wardstream/wardstream/internal/store/pgstore"
)

var (
	errMigrations = errors.New("the database lacks migrations; run detector migrate")
	errNoTable    = errors.New("postgres.table: no such table; correct the name")
)

func (s *Stores) openPostgres(ctx context.Context) error {
	pool, err := postgresurl.Parse(string(s.cfg.Postgres.URL))
	if err != nil {
		return fmt.Errorf("postgres.url: %w", err)
	}
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = connectTimeout
	}
	if s.Pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return fmt.Errorf("postgres.url: %w", postgresurl.ErrSyntax)
	}
	if s.durable, err = pgstore.New(s.Pool, pgstore.Options{Table: s.cfg.Postgres.Table}); err != nil {
		return fmt.Errorf("postgres.table: %w", err)
	}
	return nil
}

// CheckPostgres is the part of [Stores.Check] about Postgres. It must not be
// called where there is none.
func (s *Stores) CheckPostgres(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	db := stdlib.OpenDBFromPool(s.Pool)
	defer db.Close()
	pending, err := s.pending(ctx, db)
	if err != nil {
		return fmt.Errorf("Postgres at %s %s: %w", s.cfg.Postgres.URL, postgresTrouble(err), err)
	}
	if len(pending) > 0 {
		return fmt.Errorf("Postgres at %s: %w (%d pending)", s.cfg.Postgres.URL, errMigrations, len(pending))
	}
	err = s.durable.Check(ctx)
	if errors.Is(err, pgstore.ErrNoTable) {
		return fmt.Errorf("%w: %s", errNoTable, s.cfg.Postgres.Table)
	}
	if err != nil {
		return fmt.Errorf("Postgres at %s: %w", s.cfg.Postgres.URL, err)
	}
	return nil
}

// postgresTrouble says why a server does not answer as it should, and what to do about it.
func postgresTrouble(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return "can't be reached; start it or correct postgres.url"
	}
	advice := postgresurl.Refused(err, "postgres.url")
	switch pg.Code {
	case "28000", "28P01":
		return "refuses the login; " + advice
	case "3D000":
		return "has no such database; create it or correct postgres.url"
	case "57P03":
		return "is starting or stopping; start again once it takes connections"
	}
	if advice != "" {
		return "refuses; " + advice
	}
	return "refuses"
}
