package benign

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/daemontest"
	"github.com/wardstream/wardstream/internal/testenv"
)

var (
	events = flag.Int("events", 20_000, "how many events")
	seed   = flag.Uint64("seed", 1, "what the population is drawn from")
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// patience is how long detectors may take for a history.
const patience = 10 * time.Minute

const configuration = `
key_prefix: %[1]s
stream: {names: [%[2]s], group: %[1]s, loops: %[3]d, retention: 0s}
rules:
  - name: brute_force_login
  - name: repeated_client_error
  - name: resource_enumeration
actions:
  brute_force_login: {action: temp_block, scopes: [ip], ttl: 72h}
  repeated_client_error: {action: temp_block, scopes: [ip], ttl: 72h}
  resource_enumeration: {action: temp_block, scopes: [ip], ttl: 72h}
events: {stdout: false}
http: {addr: "127.0.0.1:0"}
log: {level: info}
`

// A run is one way to have a history handled.
type run struct {
	name    string
	live    bool
	workers int
	loops   int
}

// TestBenign is short by itself; `make benign` has a million events.
func TestBenign(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	binary := filepath.Join(t.TempDir(), "detector")
	if err := testenv.Build(binary, "../../cmd/detector"); err != nil {
		t.Fatal(err)
	}
	history, want := draw(t, *seed)
	publish(t, env.Client, "backlog", history)
	for _, r := range []run{
		{"backlog1", false, 1, 1},
		{"backlog4", false, 1, 4},
		{"backlog-two", false, 2, 4},
		{"live1", true, 1, 1},
		{"live4", true, 1, 4},
		{"live-two", true, 2, 4},
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, env, binary, history, want) })
	}
}

// draw returns a history and what must come of it. Where, in one of many, five people of an office
// happen to be between mistyping and logging in at the same time, which is a match by the rule's
// definition, it draws another.
func draw(t *testing.T, seed uint64) ([]occurrence, outcome) {
	t.Helper()
	for ; ; seed++ {
		history := populate(seed, *events, time.Now())
		want := recount(history)
		innocent := slices.DeleteFunc(slices.Collect(maps.Keys(want.blocked)), func(a string) bool { return strings.HasPrefix(a, "192.0.2.") })
		if attackers := len(want.blocked) - len(innocent); attackers != 65 {
			t.Fatalf("seed %d: %d attackers reach a threshold, want 65", seed, attackers)
		}
		if len(innocent) == 0 {
			return history, want
		}
		t.Logf("seed %d has %v reach a threshold", seed, innocent)
	}
}

func (r run) check(t *testing.T, env *testenv.PrivateRedisEnv, binary string, history []occurrence, want outcome) {
	stream := "backlog"
	if r.live {
		stream = r.name
		t.Cleanup(func() { env.Client.Del(context.Background(), stream) })
	}
	config := filepath.Join(t.TempDir(), "detector.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, r.name, stream, r.loops), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	workers := make([]*daemontest.Process, r.workers)
	for i := range workers {
		workers[i] = start(t, binary, env.URL, config, fmt.Sprint("w", i))
	}
	if r.live {
		publish(t, env.Client, stream, history)
	}
	handled(t, env.Client, stream, r.name, len(history))
	took := time.Since(began)
	got := outcome{matches: map[string]int{}, blocked: blocked(t, env.Client, r.name)}
	for _, w := range workers {
		metrics, err := w.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		for rule := range want.matches {
			got.matches[rule] += int(metrics[fmt.Sprintf("wardstream_matches_total{rule=%q}", rule)])
		}
		w.End(syscall.SIGTERM)
	}
	t.Logf("%d events in %.1f s, %d blocks, matches %v", len(history), took.Seconds(), len(got.blocked), got.matches)
	compare(t, got, want, r.workers == 1)
}

// compare holds got to want: its blocks, and if exact its matches too.
func compare(t *testing.T, got, want outcome, exact bool) {
	t.Helper()
	for address := range got.blocked {
		if !want.blocked[address] {
			t.Errorf("%s is blocked, though the definition doesn't have it reach a threshold", address)
		}
	}
	for address := range want.blocked {
		if !got.blocked[address] {
			t.Errorf("%s isn't blocked, though the definition has it reach a threshold", address)
		}
	}
	if exact && !maps.Equal(got.matches, want.matches) {
		t.Errorf("matches %v, want %v", got.matches, want.matches)
	}
}

func start(t *testing.T, binary, url, config, name string) *daemontest.Process {
	t.Helper()
	cmd := exec.Command(binary, "run", "--config", config, "--redis-url", url, "--consumer", name) //nolint:noctx // ended by signals
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WARDSTREAM_") })
	p, err := daemontest.Start(cmd, func(*daemontest.Process) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.End(syscall.SIGKILL) })
	select {
	case <-p.Started:
	case <-p.Exited:
		t.Fatalf("the detector doesn't start: %s", p.Log())
	}
	return p
}

// publish adds the history under IDs that say when each event was.
func publish(t *testing.T, client *redis.Client, stream string, history []occurrence) {
	t.Helper()
	last, n := int64(0), 0
	for chunk := range slices.Chunk(history, 500) {
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for i := range chunk {
				if chunk[i].at != last {
					last, n = chunk[i].at, 0
				}
				n++
				p.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: fmt.Sprintf("%d-%d", last, n), Values: chunk[i].fields()})
			}
			return nil
		})
		if err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
}

// handled waits until the group has handled the stream.
func handled(t *testing.T, client *redis.Client, stream, group string, n int) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		groups, err := client.XInfoGroups(t.Context(), stream).Result()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(groups, func(g redis.XInfoGroup) bool { return g.Name == group })
		if i < 0 || groups[i].Pending > 0 || int(groups[i].EntriesRead) < n {
			return fmt.Errorf("of %d entries not all are handled: %+v", n, groups)
		}
		return nil
	})
}

// blocked returns the addresses that a detector has blocked.
func blocked(t *testing.T, client *redis.Client, prefix string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	keys := client.Scan(t.Context(), 0, prefix+":block:ip:*", 1000).Iterator()
	for keys.Next(t.Context()) {
		out[strings.TrimPrefix(keys.Val(), prefix+":block:ip:")] = true
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
