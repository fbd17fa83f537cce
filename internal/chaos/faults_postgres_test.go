package chaos

import (
	"context"
	"math/rand/v2"
	"strings"

	"github.com/jackc/pgx/v5"
)

// postgresFaults are those of Postgres.
func postgresFaults() []fault {
	return []fault{
		{name: "postgres killed", do: func(_ context.Context, w *world, _ *rand.Rand) (func() error, error) {
			w.postgres.Stop()
			return w.postgres.Restart, nil
		}},
		{name: "postgres table locked", do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			tx, err := w.postgres.Pool.Begin(ctx)
			if err != nil {
				return nil, err
			}
			_, err = tx.Exec(ctx, "LOCK TABLE permanent_blocks")
			return func() error {
				_ = tx.Rollback(context.Background()) // without a connection there is no lock
				return nil
			}, err
		}},
		{name: "postgres read-only", do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			err := w.execute(ctx, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
			return func() error {
				return w.execute(context.Background(), "SET default_transaction_read_only = off",
					"ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
			}, err
		}},
		{name: "postgres connections killed", do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			return nil, w.execute(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
		}},
		{name: "postgres refuses connections", do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			err := w.elsewhere(ctx, "ALTER DATABASE postgres ALLOW_CONNECTIONS false",
				"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type = 'client backend'")
			return func() error {
				return w.elsewhere(context.Background(), "ALTER DATABASE postgres ALLOW_CONNECTIONS true")
			}, err
		}},
		{name: "postgres out of connections", do: noConnections},
		{name: "postgres disk full", do: fullDisk},
	}
}

// elsewhere carries statements out on a connection to another database of the server, which nothing
// keeps from being had.
func (w *world) elsewhere(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, strings.Replace(w.postgres.URL, "/postgres?", "/template1?", 1))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// execute carries statements out on one connection.
func (w *world) execute(ctx context.Context, statements ...string) error {
	conn, err := w.postgres.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
