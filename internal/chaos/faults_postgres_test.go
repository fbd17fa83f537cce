package chaos

import (
	"context"
	"math/rand/v2"
)

// postgresFaults are those of Postgres.
func postgresFaults() []fault {
	all := []fault{
		{name: "postgres killed", do: func(_ context.Context, w *world, _ *rand.Rand) (func() error, error) {
			w.postgres.Stop()
			return func() error { w.postgres.Start(); return nil }, nil
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
	}
	for i := range all {
		all[i].do = trouble(all[i].do)
	}
	return all
}

// A maker makes a fault; see fault.do.
type maker func(ctx context.Context, w *world, random *rand.Rand) (undo func() error, err error)

// trouble notes that Postgres may take one block and refuse another in the same moment: if two entries ask for one
// user's, the block may be told of under the ID of either.
func trouble(do maker) maker {
	return func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
		w.publishing.Lock()
		w.oracle.refused = true
		w.publishing.Unlock()
		return do(ctx, w, r)
	}
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
