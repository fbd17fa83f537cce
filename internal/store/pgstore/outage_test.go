package pgstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestOutage(t *testing.T) {
	t.Parallel()
	env := testenv.PrivatePostgres(t)
	storetest.Migrate(t, env.Pool)
	b := over(t, env.Pool, "")
	mustPut(t, b, block(user("a"), "a", true))
	env.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := b.Put(ctx, []store.Put{block(user("b"), "b", true)}); !store.Unavailable(err) {
		t.Errorf("Put: %v", err)
	}
	if _, err := b.Lookup(ctx, []checker.Scope{user("a")}); !store.Unavailable(err) {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := b.Unblock(ctx, store.Revocation{Scope: user("a")}); !store.Unavailable(err) {
		t.Errorf("Unblock: %v", err)
	}
	if err := b.Each(ctx, func(checker.Block) error { return nil }); !store.Unavailable(err) {
		t.Errorf("Each: %v", err)
	}
	env.Start()
	testenv.Eventually(t, 20*time.Second, func() error {
		results, err := b.Put(ctx, []store.Put{block(user("b"), "b", true)})
		if err != nil {
			return err
		}
		return results[0].Err
	})
	if blocks, err := b.List(ctx, 0); err != nil || len(blocks) != 2 {
		t.Errorf("List = %+v, %v", blocks, err)
	}
}

// TestLockTimeoutIsAStoreFailure: a lock that is not available, a standby that can't
// write, too little time.
func TestLockTimeoutIsAStoreFailure(t *testing.T) {
	t.Parallel()
	env := testenv.Postgres(t)
	storetest.Migrate(t, env.Pool)
	ctx := t.Context()
	with := func(setting string) *pgstore.Blocks {
		config, err := pgxpool.ParseConfig(env.URL)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(setting, "=")
		config.ConnConfig.RuntimeParams[name] = value
		pool, err := pgxpool.NewWithConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return over(t, pool, "")
	}
	put := func(b *pgstore.Blocks) error {
		_, err := b.Put(ctx, []store.Put{block(user("x"), "a", true)})
		return err
	}
	if err := put(with("default_transaction_read_only=on")); !store.Unavailable(err) {
		t.Errorf("Put on a server that only reads: %v", err)
	}
	tx, err := env.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx) // the lock goes either way
	if _, err := tx.Exec(ctx, `LOCK TABLE permanent_blocks IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"lock_timeout=50", "statement_timeout=50"} {
		if err := put(with(setting)); !store.Unavailable(err) {
			t.Errorf("%s: Put: %v", setting, err)
		}
	}
	impatient, err := pgstore.New(env.Pool, pgstore.Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := put(impatient); !store.Unavailable(err) {
		t.Errorf("Put with little time: %v", err)
	}
}
