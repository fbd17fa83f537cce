package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// PrivateRedisWithClock is PrivateRedis with a clock that StepClock sets, by libfaketime. Its
// monotonic clock goes on as that of a machine does whose time is corrected.
func PrivateRedisWithClock(t testing.TB, args ...string) *PrivateRedisEnv {
	t.Helper()
	library, err := fakeTime()
	if err != nil {
		t.Fatal(err)
	}
	s, err := startRedisBy(library, args)
	return privateRedis(t, s, err)
}

var errNoFakeTime = errors.New("test needs libfaketime (make setup installs it on Debian)")

// fakeTime finds the library where distributions keep it.
func fakeTime() (string, error) {
	for _, pattern := range []string{"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errNoFakeTime
}

// fakeClock has redis-server started with the library. The C library comes before the allocator
// that redis-server is linked with, which asks for the time before libfaketime is ready to answer.
func (r *localRedis) fakeClock(library string) error {
	r.clock = filepath.Join(r.dir, "clock")
	r.before = []string{
		"LD_PRELOAD=" + library + " libc.so.6", "FAKETIME_TIMESTAMP_FILE=" + r.clock, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", r.binary,
	}
	r.binary = "env"
	return r.setClock(0)
}

// StepClock sets the server's clock to be off the machine's by as much from now on, restarts
// included. The server is one that PrivateRedisWithClock started.
func (e *PrivateRedisEnv) StepClock(off time.Duration) error { return e.server.setClock(off) }

// setClock replaces the file in one step: the server reads it whenever it asks for the time.
func (r *localRedis) setClock(off time.Duration) error {
	next := r.clock + ".next"
	err := os.WriteFile(next, fmt.Appendf(nil, "%+.3f\n", off.Seconds()), 0o600)
	if err == nil {
		err = os.Rename(next, r.clock)
	}
	if err != nil {
		return fmt.Errorf("step the clock: %w", err)
	}
	return nil
}
