package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

var other = flag.String("other", "", "the program of the second version; empty builds it from this source")

// A version of the worker is a program and a configuration.
type version struct {
	number          string
	errorAt, batch  int // the threshold of errorRule, the size of batches
	program, config string
	hash            string // of errorRule's parameters, as it is in keys
}

// newVersion builds the program, unless there is one, and writes the configuration.
func newVersion(t testing.TB, program string, v version) version {
	v.program, v.config = program, filepath.Join(t.TempDir(), "detector.yaml")
	if program == "" {
		v.program = filepath.Join(t.TempDir(), "detector")
		if err := testenv.Build(v.program, "-ldflags", "-X main.version="+v.number, "../../cmd/detector"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(v.config, []byte(v.configuration()), 0o600); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *version) configuration() string {
	return fmt.Sprintf(`
key_prefix: %s
http: {addr: "127.0.0.1:0"}
events: {stream: "%s", stream_max_len: 1000000}
rules:
- {name: %s, threshold: %d, window: 1h}
- {name: %s, threshold: %d, window: 1h}
- {name: sensitive_field_change, fields: [email]}
stream: {names: ["%s"], batch_size: %d, claim_min_idle: %s, max_deliveries: 100, retention: 1m, dead_max_len: 1000000,
  max_lag: 1s, overload: shed, shed_types: [chaos.noise]}
blocks: {default_ttl: %s}
`, prefix, enforcement, lostRule, lostAt, errorRule, v.errorAt, stream, v.batch, claimMinIdle, blockTTL)
}

// version is that of workers that start now.
func (w *world) version() version {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.versions[w.current]
}

// learn finds out what hash stands for the first version, by an event that only it can have
// counted.
func (w *world) learn() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v := &w.versions[0]
	w.publish(ctx, &plan{random: rand.New(rand.NewPCG(w.seed, 0)), events: []*event{
		{kind: clientError, id: "first", subject: "10.255.255.255", threshold: v.errorAt},
	}}, new(atomic.Int64))
	for ; ctx.Err() == nil && v.hash == ""; wait(10 * time.Millisecond) {
		windows, err := w.windows(ctx, errorRule)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, sizes := range windows {
			for hash := range sizes {
				v.hash = hash
			}
		}
	}
	if v.hash == "" {
		w.t.Fatal("no worker has counted the first event")
	}
}

// versionOf is the version whose hash of errorRule's parameters it is. Any but the first version's
// is the second's.
func versionOf(hash string, versions [2]version) int {
	if hash == versions[0].hash {
		return 0
	}
	return 1
}

// versionFault is not a failure: the workers are replaced, one after the other, by those of the
// other version.
func versionFault() fault {
	return fault{name: "roll out other workers", do: func(_ context.Context, w *world, r *rand.Rand) (func() error, error) {
		w.publishing.Lock()
		w.oracle.mixing, w.oracle.rolled = true, true
		w.publishing.Unlock()
		w.mu.Lock()
		w.current = 1 - w.current
		w.mu.Unlock()
		for _, d := range w.running() {
			sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL}[r.IntN(3)]
			w.line.add("%s gets %s and is replaced by %s", d.name, sig, w.version().number)
			d.End(sig)
			w.replace(d, w.newName())
			wait(between(r, 50*time.Millisecond, 400*time.Millisecond))
		}
		return nil, nil
	}}
}
