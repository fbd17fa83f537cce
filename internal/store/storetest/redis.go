package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/testenv"
)

var errNotYet = errors.New("not yet")

// OverRedis returns a backend whose clock is a Redis server's.
func OverRedis(b store.Blocks, client redis.UniversalClient) Backend {
	now := func() time.Time {
		at, err := client.Time(context.Background()).Result()
		if err != nil {
			return time.Time{} // what is put then has lapsed, and the test fails
		}
		return at
	}
	return Backend{Blocks: b, Now: now, Reach: func(t T, at time.Time) {
		t.Helper()
		testenv.Eventually(t.(testing.TB), time.Minute, func() error { //nolint:forcetypeassert // only clocks that move are moved by a rapid.T
			if now().Before(at) {
				return errNotYet
			}
			return nil
		})
	}}
}

// Cluster starts a Redis Cluster of two nodes for t.
func Cluster(t testing.TB) *redis.ClusterClient {
	t.Helper()
	nodes := []*testenv.PrivateRedisEnv{
		testenv.PrivateRedis(t, "--cluster-enabled", "yes"), testenv.PrivateRedis(t, "--cluster-enabled", "yes"),
	}
	ctx := context.Background()
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = n.Addr
		if err := n.Client.ClusterAddSlotsRange(ctx, i*8192, i*8192+8191).Err(); err != nil {
			t.Fatal(err)
		}
		if err := n.Client.ConfigSet(ctx, "cluster-announce-ip", "127.0.0.1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	host, port, err := net.SplitHostPort(nodes[1].Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].Client.ClusterMeet(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, MaxRedirects: 8, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	testenv.Eventually(t, 30*time.Second, func() error {
		for _, n := range nodes {
			shards, err := n.Client.ClusterShards(ctx).Result()
			if err != nil || len(shards) != len(nodes) || len(shards[0].Slots) == 0 || len(shards[1].Slots) == 0 {
				return fmt.Errorf("node doesn't know all slots yet: %w", errors.Join(err, errNotYet))
			}
		}
		for i := range 20 {
			if err := client.Set(ctx, fmt.Sprint("probe", i), "1", time.Second).Err(); err != nil {
				return fmt.Errorf("probe cluster: %w", err)
			}
		}
		return nil
	})
	return client
}

// AllExpire fails for every key under prefix that has no TTL, and if there is
// no key.
func AllExpire(t testing.TB, client redis.UniversalClient, prefix string) {
	t.Helper()
	ctx := context.Background()
	keys, err := client.Keys(ctx, prefix+"*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	for _, key := range keys {
		if ttl, err := client.PTTL(ctx, key).Result(); err != nil || ttl < 0 {
			t.Errorf("key %q has TTL %v, %v", key, ttl, err)
		}
	}
}
