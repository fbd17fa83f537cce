package consumer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/deadletter"
	"github.com/wardstream/wardstream/internal/testenv"
)

func TestConnectRefusesBadURLWithoutSecrets(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "h:6379", "http://u:s3cret@h", "redis+x://u:s3cret@h", "unix+cluster://u:s3cret@h", "redis://u:s3cret@h:port", "redis://u:s3cret@h/db",
		"redis://u:s3cret#x@h", "redis://u:s3cret/x@h/0", "redis://u:1/s3cret@h/0", "redis://u:s3cret%zz@h", "redis://u:s3cret?x@h", "redis://u:s3cret@h/0/1",
		"redis://u:s3cret@h?nonsense=1", "redis+sentinel://u:s3cret@h", "redis+sentinel://u:s3cret@h/", "redis+sentinel://u:s3cret@/m",
		"redis+sentinel://u:s3cret@h/m/x", "redis+sentinel://u:s3cret@h,,i/m", "redis+sentinel://h/m?sentinel_password=s3cret;", "redis+cluster://u:s3cret@h/1",
		"redis+cluster://u:s3cret@h:1:2", "redis+cluster://u:s3cret@", "unix://u:s3cret@",
	} {
		_, err := Connect(raw, ConnectOptions{})
		if err == nil {
			t.Errorf("%q is accepted", raw)
			continue
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error quotes the password: %v", raw, err)
		}
	}
}

func TestConnectSetsClientOptions(t *testing.T) {
	t.Parallel()
	clients, err := Connect("redis://h?pool_size=50&min_idle_conns=5&max_retries=7", ConnectOptions{
		Streams: 3, Block: time.Second, Timeout: 2 * time.Second, ClientName: "detector",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = clients.Close() })
	read, ops := clients.Read.(*redis.Client).Options(), clients.Ops.(*redis.Client).Options()
	for _, o := range []*redis.Options{read, ops} {
		if o.MaxRetries != 0 || !o.ContextTimeoutEnabled || o.Protocol != 2 || o.ClientName != "detector" { // go-redis makes -1 of it 0
			t.Errorf("options are %+v", o)
		}
	}
	if read.ReadTimeout != 3*time.Second+maxOvertime || ops.ReadTimeout != 2*time.Second || read.PoolSize != 4 || ops.PoolSize != 50 || read.MinIdleConns != 0 {
		t.Errorf("timeouts are %s and %s, pools %d and %d", read.ReadTimeout, ops.ReadTimeout, read.PoolSize, ops.PoolSize)
	}
}

// works has a worker read through o's clients.
func (b *fixture) works(o Options) {
	b.t.Helper()
	h := rejecting("malformed")
	b.start(o, h)
	ids := b.add(20)
	b.allHandled(append(ids, b.add(2, "bad", "")...), h)
	b.eventually(func() error { return want("dead letters", len(b.deadLetters()), 2) })
}

func (b *fixture) connected(url string, o ConnectOptions) Options {
	b.t.Helper()
	clients, err := Connect(url, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = clients.Close() })
	options := b.options()
	options.Clients = clients
	return options
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s") // short, as the paths of sockets must be
	b, _ := privateFixture(t, "--unixsocket", socket)
	b.works(b.connected("unix://"+socket, ConnectOptions{}))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := certificate(t, dir)
	_, port, _ := net.SplitHostPort(testenv.ClosedPort(t))
	b, _ := privateFixture(t, "--tls-port", port, "--tls-cert-file", filepath.Join(dir, "cert.pem"),
		"--tls-key-file", filepath.Join(dir, "key.pem"), "--tls-ca-cert-file", filepath.Join(dir, "cert.pem"), "--tls-auth-clients", "no")
	url := "rediss://127.0.0.1:" + port
	b.works(b.connected(url, ConnectOptions{TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}))

	stranger := b.connected(url, ConnectOptions{})
	if err := stranger.Clients.Ops.Ping(context.Background()).Err(); err == nil {
		t.Error("a certificate of an unknown authority is accepted")
	}
}

// certificate writes a key and a certificate for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyBytes},
	} {
		text := pem.EncodeToMemory(block)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "cert.pem" {
			pool.AppendCertsFromPEM(text)
		}
	}
	return pool
}

// TestConsumerNeedsFewPermissions lists what a consumer must be allowed to do.
func TestConsumerNeedsFewPermissions(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t)
	rules := []any{
		"ACL", "SETUSER", "worker", "on", ">pass", "~" + b.prefix + ":*", "+ping", "+select", "+hello", "+client|setname",
		"+xreadgroup", "+xack", "+xautoclaim", "+xclaim", "+xpending", "+xgroup|create", "+xgroup|delconsumer", "+xgroup|setid",
		"+xinfo|groups", "+xinfo|consumers", "+xinfo|stream", "+xrange", "+xadd", "+xtrim", "+exists", "+time",
		"+eval", "+evalsha", "+script|load", "+set", "+setnx", "+get", "+getex", "+del", "+info",
	}
	if err := env.Client.Do(context.Background(), rules...).Err(); err != nil {
		t.Fatal(err)
	}
	o := b.connected("redis://worker:pass@"+env.Addr, ConnectOptions{ClientName: "detector"})
	o.Retention = time.Hour
	o.every = intervals{sample: time.Millisecond, trim: time.Millisecond, sweep: time.Millisecond, idle: time.Hour}
	o.ClaimMinIdle = 200 * time.Millisecond
	o.MaxDeliveries = 1
	candidate := b.deliverOften(3)
	b.works(o)
	b.eventually(func() error {
		denied := env.Client.Do(context.Background(), "ACL", "LOG").Val()
		if log, ok := denied.([]any); !ok || len(log) > 0 {
			t.Fatalf("denied: %v", denied)
		}
		n, err := b.pending()
		if err != nil {
			return err
		}
		return want("pending, "+candidate+" among them", n, int64(0))
	})
}

// A node is one of a test's own Redis servers.
func clusterNodes(t *testing.T, n int) []*testenv.PrivateRedisEnv {
	t.Helper()
	ctx := context.Background()
	nodes := make([]*testenv.PrivateRedisEnv, n)
	for i := range nodes {
		nodes[i] = testenv.PrivateRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
	}
	if err := nodes[0].Client.ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes[1:] {
		host, port, _ := strings.Cut(node.Addr, ":")
		if err := nodes[0].Client.ClusterMeet(ctx, host, port).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range nodes {
		testenv.Eventually(t, patience, func() error {
			info, err := node.Client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			return want("cluster ready", strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(n)), true)
		})
	}
	return nodes
}

func TestOneNodeCluster(t *testing.T) {
	t.Parallel()
	node := clusterNodes(t, 1)[0]
	b := &fixture{t: t, url: node.URL, client: node.Client, prefix: node.Prefix, stream: node.Prefix + ":events"}
	o := b.connected("redis+cluster://"+node.Addr, ConnectOptions{Streams: 2})
	o.Streams = append(o.Streams, node.Prefix+":more")
	b.works(o)

	admin := deadletter.NewQueue(o.Clients.Ops, b.stream)
	if n, err := admin.RequeueAll(context.Background()); err != nil || n != 2 {
		t.Errorf("requeued %d, %v", n, err)
	}
	b.eventually(func() error { return want("dead letters", len(b.deadLetters()), 2) }) // again
	if n, err := admin.PurgeAll(context.Background()); err != nil || n < 2 {
		t.Errorf("purged %d, %v", n, err)
	}
}

// TestClusterSlotMigration moves the stream to another node while the worker reads it.
func TestClusterSlotMigration(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	nodes := clusterNodes(t, 2)
	from, to := nodes[0], nodes[1]
	b := &fixture{t: t, url: from.URL, client: from.Client, prefix: from.Prefix, stream: from.Prefix + ":events"}
	o := b.connected("redis+cluster://"+from.Addr, ConnectOptions{})
	h := &recorder{}
	b.start(o, h)
	b.allHandled(b.add(50), h)

	do := func(node *testenv.PrivateRedisEnv, args ...any) any {
		t.Helper()
		reply, err := node.Client.Do(ctx, args...).Result()
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	slot := do(from, "CLUSTER", "KEYSLOT", b.stream)
	fromID, toID := do(from, "CLUSTER", "MYID"), do(to, "CLUSTER", "MYID")
	do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	host, port, _ := strings.Cut(to.Addr, ":")
	do(from, "MIGRATE", host, port, b.stream, 0, 5000)

	// The stream has moved and the slot hasn't: only those who ask are let in.
	conn := to.Client.Conn()
	t.Cleanup(func() { _ = conn.Close() })
	var ids []string
	for range 20 {
		pipe := conn.Pipeline()
		pipe.Do(ctx, "ASKING")
		id := pipe.XAdd(ctx, &redis.XAddArgs{Stream: b.stream, Values: []string{"a", "b"}})
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id.Val())
	}
	b.eventually(func() error { return want("handled while moving", h.times(ids[19]), 1) })

	do(to, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	do(from, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	b.client = to.Client
	b.allHandled(b.add(50), h)
	if letters, err := deadletter.NewQueue(o.Clients.Ops, b.stream).List(ctx, "", 10); err != nil || len(letters) != 0 {
		t.Errorf("dead letters are %+v, %v", letters, err)
	}
}

// TestSentinelFailover kills the master; the replica that takes its place goes on.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	master := testenv.PrivateRedis(t)
	host, port, _ := strings.Cut(master.Addr, ":")
	replica := testenv.PrivateRedis(t, "--replicaof", host, port, "--repl-diskless-sync-delay", "0")
	testenv.Eventually(t, patience, func() error {
		info, err := replica.Client.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		return want("replica linked", strings.Contains(info, "master_link_status:up"), true)
	})
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := "sentinel monitor main " + host + " " + port + " 1\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 20000\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := testenv.PrivateRedis(t, config, "--sentinel")

	b := &fixture{t: t, url: master.URL, client: master.Client, prefix: master.Prefix, stream: master.Prefix + ":events"}
	o := b.connected("redis+sentinel://"+sentinel.Addr+"/main", ConnectOptions{})
	h := &recorder{}
	b.start(o, h)
	b.allHandled(b.add(50), h)
	testenv.Eventually(t, patience, func() error { // Sentinel learns of replicas every few seconds
		info, err := sentinel.Client.Info(ctx, "sentinel").Result()
		if err != nil {
			return err
		}
		return want("replica known", strings.Contains(info, "slaves=1"), true)
	})
	if n, err := master.Client.Wait(ctx, 1, patience).Result(); err != nil || n != 1 {
		t.Fatalf("%d replicas, %v", n, err)
	}
	master.Kill()

	b.client = replica.Client
	testenv.Eventually(t, patience, func() error {
		return replica.Client.XAdd(ctx, &redis.XAddArgs{Stream: b.stream, Values: []string{"first", "after"}}).Err()
	})
	b.allHandled(b.add(50), h)
}
