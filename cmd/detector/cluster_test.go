package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// TestCluster: worker and commands on a Redis Cluster, as a user who may do what check advises.
func TestCluster(t *testing.T) {
	t.Parallel()
	server, pg := testenv.PrivateRedis(t, "--cluster-enabled", "yes"), testenv.Postgres(t)
	if err := server.Client.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		if info := server.Client.ClusterInfo(t.Context()).Val(); !strings.Contains(info, "cluster_state:ok") {
			return fmt.Errorf("the cluster is not ready: %s", info)
		}
		return nil
	})
	in := install(t, &server.RedisEnv, pg, "rules:\n- {name: brute_force_login, threshold: 3}\n- {name: sensitive_field_change, fields: [email]}\n")
	in.redis.URL = "redis+cluster://" + server.Addr
	in.env = append(in.env, "WARDSTREAM_REDIS_URL="+in.redis.URL)
	in.examine(0).has(t, "ok", "redis", "cluster of 1 master", "")
	in.restricted("worker", strings.Join(in.advised(), " ")+" +xlen +xdel +xrevrange")
	in.examine(0).has(t, "ok", "redis access", "the user worker may do all", "")

	in.publish("no", "type")
	for range 3 {
		in.publish("event_type", failed, "source.address", attacker)
	}
	in.publish("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "42")
	w := in.start()
	w.reaches("wardstream_dead_letters_total", 1)
	in.settled("detectors")
	in.command("blocks").answers(t, 0).says(t, attacker, "user ", "42")
	in.command("unblock", "user", "42").answers(t, 0)
	in.command("blocks", "user", "42").answers(t, 1)
	in.command("dead-letters", "requeue", "--all", "--yes").answers(t, 0).says(t, "requeued 1\n")
	w.reaches("wardstream_dead_letters_total", 2)
	in.command("dead-letters", "purge", in.letters()[0].ID).answers(t, 0)
	w.stop()
}
