package tiered_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
)

func newCache(t testing.TB, client redis.UniversalClient, o redisstore.BlockOptions) *redisstore.Blocks {
	t.Helper()
	b, err := redisstore.NewBlocks(client, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newDurable(t testing.TB, pool *pgxpool.Pool, o pgstore.Options) *pgstore.Blocks {
	t.Helper()
	b, err := pgstore.New(pool, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// warm has the membership hash complete.
func warm(t testing.TB, b *tiered.Blocks) {
	t.Helper()
	if _, err := tiered.NewReconciler(b, tiered.ReconcilerOptions{}).Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// open returns stores over real servers, the membership hash complete or missing.
func open(o tiered.Options, warmed bool) storetest.Open {
	return func(t *testing.T) storetest.Backend {
		t.Helper()
		r, p := testenv.Redis(t), testenv.Postgres(t)
		storetest.Migrate(t, p.Pool)
		b := tiered.New(newCache(t, r.Client, redisstore.BlockOptions{Prefix: r.Prefix}), newDurable(t, p.Pool, pgstore.Options{}), o)
		if warmed {
			warm(t, b)
		}
		backend := storetest.OverRedis(b, r.Client)
		backend.Brief = true
		return backend
	}
}

// openDemo returns the stores of the demo: a Redis-compatible server in the
// process, and memory.
func openDemo(t *testing.T) storetest.Backend {
	t.Helper()
	server := miniredis.RunT(t)
	clock := storetest.NewClock()
	server.SetTime(clock.Now())
	server.ClockTTL(true)
	clock.Moved = server.SetTime
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	cache := newCache(t, client, redisstore.BlockOptions{Now: clock.Now, PermanentTTL: 1e6 * time.Hour})
	b := tiered.New(cache, memstore.NewBlocks(clock.Now), tiered.Options{Now: clock.Now})
	warm(t, b)
	return storetest.Backend{Blocks: b, Now: clock.Now, Reach: clock.Reach, Movable: true, Brief: true}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	t.Run("cold", func(t *testing.T) { t.Parallel(); storetest.Blocks(t, open(tiered.Options{}, false)) })
	t.Run("warm", func(t *testing.T) { t.Parallel(); storetest.Blocks(t, open(tiered.Options{}, true)) })
	t.Run("temporary too", func(t *testing.T) {
		t.Parallel()
		storetest.Blocks(t, open(tiered.Options{TemporaryToo: true}, true))
	})
	t.Run("demo", func(t *testing.T) { t.Parallel(); storetest.Blocks(t, openDemo) })
	t.Run("Redis alone", func(t *testing.T) {
		t.Parallel()
		storetest.Blocks(t, func(t *testing.T) storetest.Backend {
			t.Helper()
			r := testenv.Redis(t)
			return storetest.OverRedis(tiered.New(newCache(t, r.Client, redisstore.BlockOptions{Prefix: r.Prefix}), nil, tiered.Options{}), r.Client)
		})
	})
}

func TestBlocksCluster(t *testing.T) {
	t.Parallel()
	client := storetest.Cluster(t)
	n := make(chan int, 1)
	n <- 0
	storetest.Blocks(t, func(t *testing.T) storetest.Backend {
		t.Helper()
		i := <-n
		n <- i + 1
		cache := newCache(t, client, redisstore.BlockOptions{Prefix: fmt.Sprintf("ws-%d", i)})
		b := tiered.New(cache, memstore.NewBlocks(time.Now), tiered.Options{})
		if i%2 == 0 {
			warm(t, b)
		}
		backend := storetest.OverRedis(b, client)
		backend.Brief = true
		return backend
	})
}

func TestBlocksModel(t *testing.T) {
	t.Parallel()
	t.Run("cold", func(t *testing.T) { t.Parallel(); storetest.Model(t, open(tiered.Options{}, false)) })
	t.Run("warm", func(t *testing.T) { t.Parallel(); storetest.Model(t, open(tiered.Options{}, true)) })
	t.Run("temporary too", func(t *testing.T) {
		t.Parallel()
		storetest.Model(t, open(tiered.Options{TemporaryToo: true}, true))
	})
	t.Run("demo", func(t *testing.T) { t.Parallel(); storetest.Model(t, openDemo) })
}
