package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
)

func newBlocks(t testing.TB, client redis.UniversalClient, o redisstore.BlockOptions) *redisstore.Blocks {
	t.Helper()
	b, err := redisstore.NewBlocks(client, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openRedis(t *testing.T) storetest.Backend {
	t.Helper()
	env := testenv.Redis(t)
	return storetest.OverRedis(newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix}), env.Client)
}

func openMiniredis(t *testing.T) storetest.Backend {
	t.Helper()
	server := miniredis.RunT(t)
	clock := storetest.NewClock()
	server.SetTime(clock.Now())
	server.ClockTTL(true)
	clock.Moved = server.SetTime
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return storetest.Backend{
		Blocks: newBlocks(t, client, redisstore.BlockOptions{Now: clock.Now, PermanentTTL: 1e6 * time.Hour}),
		Now:    clock.Now, Reach: clock.Reach, Movable: true,
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	storetest.Cache(t, func(t *testing.T) store.Cache {
		t.Helper()
		env := testenv.Redis(t)
		return newBlocks(t, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	})
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	storetest.Blocks(t, openRedis)
}

func TestBlocksMiniredis(t *testing.T) {
	t.Parallel()
	storetest.Blocks(t, openMiniredis)
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
		return storetest.OverRedis(newBlocks(t, client, redisstore.BlockOptions{Prefix: fmt.Sprintf("ws-%d", i)}), client)
	})
}

func TestBlocksModel(t *testing.T) {
	t.Parallel()
	storetest.Model(t, openRedis)
}

func TestBlocksMiniredisModel(t *testing.T) {
	t.Parallel()
	storetest.Model(t, openMiniredis)
}
