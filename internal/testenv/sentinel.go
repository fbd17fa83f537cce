package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A SentinelEnv is a Redis primary and a replica of one test's own, watched over by a Sentinel that
// promotes the replica when the primary is gone for half a second.
type SentinelEnv struct {
	URL      string // redis+sentinel://host:port/master
	Primary  *PrivateRedisEnv
	Replica  *PrivateRedisEnv
	sentinel *PrivateRedisEnv
}

const sentinelMaster = "ws"

// Sentinel starts the three servers and waits until they know each other. args are further
// arguments of primary and replica.
func Sentinel(t testing.TB, args ...string) *SentinelEnv {
	t.Helper()
	primary := PrivateRedis(t, args...)
	host, port, _ := strings.Cut(primary.Addr, ":")
	replica := PrivateRedis(t, append([]string{"--replicaof", host, port}, args...)...)
	config := filepath.Join(primary.Dir, "sentinel.conf") // Sentinel writes to it
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 5000\n",
		sentinelMaster, host, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := PrivateRedis(t, config, "--sentinel")
	env := &SentinelEnv{URL: "redis+sentinel://" + s.Addr + "/" + sentinelMaster, Primary: primary, Replica: replica, sentinel: s}
	Eventually(t, startTimeout, env.watched(t))
	return env
}

var errUnwatched = errors.New("sentinel doesn't know the replica yet, or it isn't in step")

func (e *SentinelEnv) watched(t testing.TB) func() error {
	client := redis.NewSentinelClient(&redis.Options{Addr: e.sentinel.Addr})
	t.Cleanup(func() { _ = client.Close() })
	return func() error {
		replicas, err := client.Replicas(t.Context(), sentinelMaster).Result()
		if err != nil {
			return fmt.Errorf("ask Sentinel: %w", err)
		}
		if len(replicas) != 1 || replicas[0]["master-link-status"] != "ok" {
			return errUnwatched
		}
		return nil
	}
}

// FailOver kills the primary and returns once the replica is the primary.
func (e *SentinelEnv) FailOver(t testing.TB) {
	t.Helper()
	e.Primary.Kill()
	Eventually(t, 2*time.Minute, func() error {
		role, err := e.Replica.Client.Do(t.Context(), "ROLE").Slice()
		if err == nil && role[0] != "master" {
			err = fmt.Errorf("the replica is still a %v", role[0])
		}
		return err
	})
}
