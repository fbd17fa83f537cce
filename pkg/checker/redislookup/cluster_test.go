package redislookup

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
)

// cluster starts a Redis Cluster of one node.
func cluster(t *testing.T, args ...string) *testenv.PrivateRedisEnv {
	t.Helper()
	env := testenv.PrivateRedis(t, append([]string{"--cluster-enabled", "yes"}, args...)...)
	client := env.Client
	if len(args) > 0 { // with a password
		client = connect(t, strings.Replace(env.URL, "//", "//:"+args[1]+"@", 1)).(*redis.Client)
	}
	if err := client.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 20*time.Second, func() error {
		info, err := client.ClusterInfo(t.Context()).Result()
		if err == nil && !strings.Contains(info, "cluster_state:ok") {
			err = errors.New("the cluster isn't up")
		}
		return err
	})
	return env
}

func TestCluster(t *testing.T) {
	t.Parallel()
	env := cluster(t)
	client := connect(t, "redis+cluster://"+env.Addr)
	if _, ok := client.(*redis.ClusterClient); !ok {
		t.Fatalf("Connect of redis+cluster made a %T", client)
	}
	f := fixture{t: t, client: client, keys: rediskey.Keys{Prefix: "ws-test-cluster"}}
	l := f.lookup(WithPermanentTier())
	if _, err := l.Lookup(t.Context(), all); !errors.Is(err, ErrCold) {
		t.Fatalf("empty cluster: %v", err)
	}
	f.complete()
	f.key(made(address, "temp", time.Minute))
	f.member(made(user, "perm", 0))
	blocks, err := l.Lookup(t.Context(), all)
	if want := []string{"ip:temp", "user:perm"}; err != nil || !reflect.DeepEqual(messages(blocks), want) {
		t.Fatalf("Lookup = %v, %v; want %v", messages(blocks), err, want)
	}
	f.must(client.Set(t.Context(), f.keys.Block(session), "garbage", time.Hour).Err())
	if _, err = l.Lookup(t.Context(), all); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("corrupt value: %v", err)
	}
	f.must(client.Del(t.Context(), f.keys.Block(session)).Err())
	f.must(client.SAdd(t.Context(), f.keys.Block(session), "x").Err())
	if blocks, err = l.Lookup(t.Context(), all); !redis.HasErrorPrefix(err, "WRONGTYPE") || len(blocks) != 2 {
		t.Fatalf("key of another type: %v, %v", messages(blocks), err)
	}
	if !l.HonoursDeadline() {
		t.Error("a cluster client isn't taken to honour deadlines")
	}
}
