package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A ClusterEnv is a Redis Cluster of one test's own: three primaries, each with a replica that is
// elected about two seconds after its primary is gone.
type ClusterEnv struct {
	URL       string // redis+cluster://host:port,host:port,host:port
	Primaries []*PrivateRedisEnv
	Replicas  []*PrivateRedisEnv // Replicas[i] is Primaries[i]'s

	t testing.TB
}

const (
	clusterPrimaries = 3
	slots            = 16384
)

// Cluster starts the six servers and waits until they agree that the cluster is up and every
// replica is in step. args are further arguments of each.
func Cluster(t testing.TB, args ...string) *ClusterEnv {
	t.Helper()
	args = append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
	}, args...)
	e := &ClusterEnv{t: t}
	var addrs []string
	for range clusterPrimaries {
		e.Primaries = append(e.Primaries, PrivateRedis(t, args...))
		e.Replicas = append(e.Replicas, PrivateRedis(t, args...))
	}
	for i, p := range e.Primaries {
		addrs = append(addrs, p.Addr)
		from, to := i*slots/clusterPrimaries, (i+1)*slots/clusterPrimaries-1
		if err := p.Client.ClusterAddSlotsRange(context.Background(), from, to).Err(); err != nil {
			t.Fatal(err)
		}
		e.must(p, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, n := range e.nodes()[1:] {
		host, port, _ := strings.Cut(n.Addr, ":")
		e.must(e.Primaries[0], "CLUSTER", "MEET", host, port)
	}
	for i, r := range e.Replicas {
		id, err := e.Primaries[i].Client.Do(context.Background(), "CLUSTER", "MYID").Text()
		if err != nil {
			t.Fatal(err)
		}
		Eventually(t, startTimeout, func() error { return r.Client.Do(context.Background(), "CLUSTER", "REPLICATE", id).Err() }) // once it knows it
	}
	e.URL = "redis+cluster://" + strings.Join(addrs, ",")
	for _, n := range e.nodes() {
		Eventually(t, startTimeout, func() error { return settled(n.Client) })
	}
	return e
}

func (e *ClusterEnv) nodes() []*PrivateRedisEnv {
	return append(append([]*PrivateRedisEnv(nil), e.Primaries...), e.Replicas...)
}

func (e *ClusterEnv) must(n *PrivateRedisEnv, args ...any) {
	e.t.Helper()
	if err := n.Client.Do(context.Background(), args...).Err(); err != nil {
		e.t.Fatal(err)
	}
}

var errUnsettled = errors.New("the node doesn't see the whole cluster yet")

// settled says whether a node sees the cluster up, with all its primaries and replicas in step.
func settled(node *redis.Client) error {
	ctx := context.Background()
	info, err := node.ClusterInfo(ctx).Result()
	if err != nil {
		return fmt.Errorf("ask for the cluster's state: %w", err)
	}
	if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_size:3") || !strings.Contains(info, "cluster_known_nodes:6") {
		return fmt.Errorf("%w: %s", errUnsettled, info)
	}
	shards, err := node.ClusterSlots(ctx).Result() //nolint:staticcheck // ClusterShards needs Redis 7
	if err != nil {
		return fmt.Errorf("ask for slots: %w", err)
	}
	for _, s := range shards {
		if len(s.Nodes) != 2 {
			return fmt.Errorf("%w: slots %d to %d have %d servers", errUnsettled, s.Start, s.End, len(s.Nodes))
		}
	}
	replication, err := node.Info(ctx, "replication").Result()
	if err == nil && strings.Contains(replication, "role:slave") && !strings.Contains(replication, "master_link_status:up") {
		err = errUnsettled
	}
	return err
}

// PrimaryOf returns the number of the primary that had key's slot when the cluster was started.
func (e *ClusterEnv) PrimaryOf(key string) int {
	e.t.Helper()
	slot, err := e.living().Client.ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		e.t.Fatal(err)
	}
	for i := range clusterPrimaries {
		if slot < int64((i+1)*slots/clusterPrimaries) {
			return i
		}
	}
	return -1
}

func (e *ClusterEnv) living() *PrivateRedisEnv {
	for _, n := range e.nodes() {
		if n.Client.Ping(context.Background()).Err() == nil {
			return n
		}
	}
	e.t.Fatal("no server of the cluster is left")
	return nil
}

// Elected waits until the replica of a primary that is gone has taken its place, and every server
// left sees the cluster up. It returns when the replica was elected, within the few milliseconds
// between two looks.
func (e *ClusterEnv) Elected(i int) time.Time {
	e.t.Helper()
	Eventually(e.t, startTimeout, func() error {
		role, err := e.Replicas[i].Client.Do(context.Background(), "ROLE").Slice()
		if err == nil && role[0] != "master" {
			err = fmt.Errorf("the replica is still a %v", role[0])
		}
		return err
	})
	elected := time.Now()
	for _, n := range e.nodes() {
		if n == e.Primaries[i] {
			continue
		}
		Eventually(e.t, startTimeout, func() error {
			info, err := n.Client.ClusterInfo(context.Background()).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = errUnsettled
			}
			return err
		})
	}
	return elected
}

// ClusterClient returns a client of the whole cluster, closed at the test's end.
func (e *ClusterEnv) ClusterClient() *redis.ClusterClient {
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: strings.Split(strings.TrimPrefix(e.URL, "redis+cluster://"), ","), MaxRetries: -1, ContextTimeoutEnabled: true,
		DialTimeout: time.Second, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	e.t.Cleanup(func() { _ = c.Close() })
	return c
}
