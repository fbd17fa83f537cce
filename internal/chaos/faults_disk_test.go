package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// fullDisk leaves no room on Postgres' disk: for rows, or for its log, without which it ends
// itself, and can't start.
func fullDisk(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
	if err := w.postgres.FillDisk(); err != nil {
		return nil, err
	}
	undo := func() error {
		if err := errors.Join(w.postgres.FreeDisk(), w.postgres.Restart()); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the table may be locked still
		defer cancel()
		return w.execute(short, "DELETE FROM permanent_blocks WHERE scope_type = 'filler'")
	}
	w.line.add("Postgres has no room for rows: %v", w.fillPages(ctx))
	if r.IntN(2) == 0 {
		w.line.add("nor for its log: %v", w.overflowLog(ctx))
	}
	return undo, nil
}

// fillPages takes what room for rows there is in pages that Postgres has already, and returns the
// error that says that there is no more. The rows are of no interest.
func (w *world) fillPages(ctx context.Context) error {
	const filler = `INSERT INTO permanent_blocks (scope_type, scope_value, reason, rule_name, message, metadata, created_at, revoked_at, revoked_by, revoked_reason)
SELECT 'filler', gen_random_uuid()::text, '', '', '', '{}', '2000-01-01', '2000-01-01', '', '' FROM generate_series(1, $1)`
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for rows := 64; ; {
		_, err := w.postgres.Pool.Exec(ctx, filler, rows)
		if err != nil && rows == 1 {
			return err
		} else if err != nil {
			rows /= 2
		}
	}
}

// overflowLog has Postgres begin new segments of its log until it has no room for one. It ends, and
// cannot be started again.
func (w *world) overflowLog(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		if err := w.execute(ctx, "SELECT pg_logical_emit_message(true, 'chaos', '')", "SELECT pg_switch_wal()"); err != nil {
			return err
		}
	}
}

// noConnections takes every connection that Postgres has, those reserved for superusers included,
// and those of the workers.
func noConnections(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
	var held []*pgx.Conn
	undo := func() error {
		for _, c := range held {
			_ = c.Close(context.Background()) // or the server has
		}
		return nil
	}
	first, err := pgx.Connect(ctx, w.postgres.URL+"&application_name=chaos")
	if err != nil {
		return nil, err
	}
	held = append(held, first)
	for range 10 { // workers may be faster
		const others = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'chaos' AND backend_type = 'client backend'`
		if _, err := first.Exec(ctx, others); err != nil {
			return undo, err
		}
		for range maxPostgres {
			c, err := pgx.Connect(ctx, w.postgres.URL+"&application_name=chaos")
			if err != nil {
				break
			}
			held = append(held, c)
		}
		if len(held) == maxPostgres {
			w.line.add("all %d connections of Postgres are taken", len(held))
			return undo, nil
		}
	}
	w.line.add("%d of %d connections of Postgres are taken", len(held), maxPostgres)
	return undo, nil
}
