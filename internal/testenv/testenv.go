// Package testenv gives tests a real Redis and a real PostgreSQL.
//
// Each engine comes from the first of: the server that an environment variable
// names (WARDSTREAM_TEST_REDIS_URL, WARDSTREAM_TEST_POSTGRES_URL), a Docker
// container where an engine answers, a local binary on a free loopback port. Where
// there is none of them the test fails and says what to install; it is never skipped.
//
// Servers that [Redis] and [Postgres] return are started once per test binary
// and shared by its tests, which keep apart by key prefix and by schema.
// [PrivateRedis] and [PrivatePostgres] start a server for one test, to be flushed,
// killed and started again. On Linux none of them outlives the test binary,
// however that ends.
package testenv

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"
)

const (
	redisVariable    = "WARDSTREAM_TEST_REDIS_URL"
	postgresVariable = "WARDSTREAM_TEST_POSTGRES_URL"

	startTimeout = 60 * time.Second // a server on a busy machine
	pollInterval = 5 * time.Millisecond
)

// A server is one running store.
type server struct {
	url  string
	stop func()
}

// The servers that the tests of one binary share, and what stops them. These
// are the package's only variables of state: a test binary is one process, with one set of servers.
var (
	sharedRedis    = sync.OnceValues(startSharedRedis)
	sharedPostgres = sync.OnceValues(startSharedPostgres)
	running        stops
)

type stops struct {
	mu    sync.Mutex
	stops []func()
}

// keep has s stopped by Main.
func (r *stops) keep(s server) server {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stops = append(r.stops, s.stop)
	return s
}

func (r *stops) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, stop := range r.stops {
		stop()
	}
	r.stops = nil
}

// Main runs the tests of m, stops the shared servers and returns the exit code.
// Packages that use this one call it from TestMain: os.Exit(testenv.Main(m)).
func Main(m *testing.M) int {
	sweep()
	code := m.Run()
	running.stop()
	return code
}

// Eventually calls check every few milliseconds until it returns nil, and
// fails the test with its last error once timeout has passed.
func Eventually(t testing.TB, timeout time.Duration, check func() error) {
	t.Helper()
	if err := poll(timeout, check); err != nil {
		t.Fatalf("still failing after %s: %v", timeout, err)
	}
}

// errGiveUp, wrapped by a check, ends poll at once.
var errGiveUp = errors.New("giving up")

func poll(timeout time.Duration, check func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := check()
		if err == nil || errors.Is(err, errGiveUp) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollInterval)
	}
}

// random returns 12 hexadecimal digits that no other test has.
func random() string {
	var raw [6]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}
