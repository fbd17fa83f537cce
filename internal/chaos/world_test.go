package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/wardstream/wardstream/internal/testenv"
)

const (
	prefix      = "ws"
	stream      = "ws:events"
	deadStream  = "ws:events:dead"
	enforcement = "ws:enforcement"
	group       = "detectors"

	workers      = 3
	claimMinIdle = 300 * time.Millisecond
	blockTTL     = 12 * time.Hour
	lostRule     = "brute_force_login"
	errorRule    = "repeated_client_error"
	lostAt       = 5 // its threshold; that of the other is its version's

	// maxPostgres is how many connections Postgres takes.
	maxPostgres = 50

	// patience is how long to wait for what is bound to happen: a pass of the reconciler may be 36
	// s away, and the machine may be busy.
	patience = 90 * time.Second
)

// A world is what faults are made in: servers, proxies before them, workers.
type world struct {
	t        testing.TB
	seed     uint64
	line     *timeline
	redis    *testenv.PrivateRedisEnv
	sentinel *testenv.SentinelEnv // nil: there is but one Redis
	postgres *testenv.PrivatePostgresEnv
	links    map[string]*toxiproxy.Proxy // "redis" and "postgres"
	env      []string

	publishing sync.Mutex // held while a batch is published, and by faults that lose data
	oracle     *oracle
	staged     []staged
	seen       seen
	peak       peak
	counted    map[*worker]losses // what each had counted as lost when the last round was over
	evicted    int                // keys
	garbage    int                // entries published for freeze
	ahead      bool               // the stream's last ID may lie in the future

	mu       sync.Mutex
	workers  []*worker
	over     bool
	versions [2]version
	current  int // which of them workers start as
	made     int // names given to workers
	problems []string
}

// newWorld starts everything on a Redis of its own, which keeps every write, or on a primary and a
// replica behind Sentinel.
func newWorld(t testing.TB, seed uint64, sentinel bool) *world {
	w := &world{
		t: t, seed: seed, line: &timeline{begin: time.Now()}, oracle: newOracle(), seen: newSeen(),
		postgres: testenv.PrivatePostgresOnSmallDisk(t, "-c", "max_connections="+strconv.Itoa(maxPostgres)),
	}
	w.links = map[string]*toxiproxy.Proxy{"postgres": link(t, "postgres", hostOf(t, w.postgres.URL))}
	w.env = []string{
		"WARDSTREAM_REDIS_URL=" + w.startRedis(sentinel),
		"WARDSTREAM_POSTGRES_URL=" + through(t, w.postgres.URL, w.links["postgres"].Listen),
	}
	w.versions[0] = newVersion(t, "", version{number: "chaos-1", errorAt: 7, batch: 32})
	w.versions[1] = newVersion(t, *other, version{number: "chaos-2", errorAt: 9, batch: 17})
	if _, err := w.command("migrate"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	w.mu.Lock()
	for range workers {
		w.workers = append(w.workers, w.launch(w.nameLocked()))
	}
	w.mu.Unlock()
	w.learn()
	return w
}

// startRedis returns how workers reach Redis.
func (w *world) startRedis(sentinel bool) string {
	always := []string{"--appendonly", "yes", "--appendfsync", "always"}
	if sentinel {
		w.sentinel = testenv.Sentinel(w.t, always...)
		w.redis = w.sentinel.Primary
		return w.sentinel.URL
	}
	start := testenv.PrivateRedis
	if slices.ContainsFunc(faults(*only), func(f fault) bool { return f.name == stepsClock }) {
		start = testenv.PrivateRedisWithClock // not with every server: libfaketime and some builds' allocators don't get on
	}
	w.redis = start(w.t, always...)
	w.links["redis"] = link(w.t, "redis", w.redis.Addr)
	return "redis://" + w.links["redis"].Listen + "/0"
}

// link puts a proxy before a server.
func link(t testing.TB, name, upstream string) *toxiproxy.Proxy {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	for range 20 {
		// Outside the range that outgoing connections use, so that it can be had again after a cut.
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(12000+rand.IntN(8000)))
		p := toxiproxy.NewProxy(server, name, addr, upstream)
		if err := p.Start(); err == nil {
			t.Cleanup(p.Stop)
			return p
		}
	}
	t.Fatalf("no port for a proxy before %s", name)
	return nil
}

func hostOf(t testing.TB, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func through(t testing.TB, address, host string) string {
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = host
	return u.String()
}

// command runs a command of the detector and returns what it says.
func (w *world) command(args ...string) (string, error) { return w.commandWith(w.env, args...) }

// commandWith runs it on other stores.
func (w *world) commandWith(env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v := w.versions[0]
	cmd := exec.CommandContext(ctx, v.program, append(args, "--config", v.config)...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("detector %v: %w: %s", args, err, out)
	}
	return string(out), nil
}

// nameLocked makes a name for a worker that is new. w.mu is held, or no other goroutine runs yet.
func (w *world) nameLocked() string {
	w.made++
	return "w" + strconv.Itoa(w.made)
}

func (w *world) newName() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nameLocked()
}

// fail notes what must not be.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *world) failed() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.problems
}

// end ends all workers.
func (w *world) end() {
	w.mu.Lock()
	w.over = true
	all := w.workers
	w.mu.Unlock()
	for _, d := range all {
		d.End(syscall.SIGKILL)
	}
}

// client is the harness's own way to Redis, past the proxy.
func (w *world) client() *redis.Client { return w.redis.Client }
