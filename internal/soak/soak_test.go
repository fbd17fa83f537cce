package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

var (
	duration = flag.Duration("duration", 6*time.Second, "how long to publish")
	rate     = flag.Int("rate", 200, "events a second")
	interval = flag.Duration("interval", 0, "between two lines; 0 is a sixtieth of the duration, a second at least")
	asJSON   = flag.Bool("json", false, "print one JSON object a line")
	seed     = flag.Uint64("seed", 1, "what the load is drawn from; 0 draws the seed, too")
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const (
	stream        = "ws:events"
	group         = "detectors"
	enforcement   = "ws:enforcement"
	userHeader    = "X-Auth-User"
	sessionHeader = "X-Auth-Session"

	// patience is how long to wait for what is bound to happen.
	patience = time.Minute
	// settled is how long a run must be for its second half to be judged: all must have come twice.
	settled = 10 * time.Minute
)

// A soak is one run.
type soak struct {
	t           *testing.T
	rate        int
	seed        uint64
	window, ttl time.Duration // of the detectors' windows and blocks
	period      time.Duration // of the operator's work

	redis    *testenv.PrivateRedisEnv
	postgres *testenv.PrivatePostgresEnv
	detector string // the program
	config   string
	env      []string
	workers  []*process
	ingress  []*process // without a mirror, and with one
	http     *http.Client
	began    time.Time

	attacks                              chan *actor
	published, checks, failed, unblocked atomic.Int64

	mu            sync.Mutex
	acted, unsure map[kind]int // actors that are done; those of them of whom nothing can be said
	ring          []*actor     // who is blocked for a while
	permanent     []*actor     // and for good
	delays        [2][]time.Duration
	emitted       emitted
	problems      []string
	more          int // problems that aren't kept
}

// TestSoak is short by itself: counts are compared, growth isn't judged. `make soak` runs it for an
// hour.
func TestSoak(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	s := newSoak(t)
	samples := s.run()
	s.compare()
	for _, p := range slices.Concat(s.workers, s.ingress) {
		if p.End(syscall.SIGTERM); p.ExitCode() != 0 {
			s.wrong("%s exits %d at SIGTERM:\n%s", p.name, p.ExitCode(), p.Log())
		}
	}
	s.verdict(samples)
}

func newSoak(t *testing.T) *soak {
	s := &soak{
		t: t, rate: *rate, seed: *seed, window: 30 * time.Second, ttl: time.Minute, period: 10 * time.Second,
		redis:    testenv.PrivateRedis(t, "--appendonly", "yes", "--appendfsync", "everysec"),
		postgres: testenv.PrivatePostgres(t),
		http:     &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		attacks:  make(chan *actor, 1000), acted: map[kind]int{}, unsure: map[kind]int{}, emitted: newEmitted(),
	}
	if *duration < settled { // none comes twice: let nothing end while a slow machine takes its time
		s.window, s.ttl, s.period = 10*time.Minute, 10*time.Minute, 500*time.Millisecond
	}
	s.env = []string{"WARDSTREAM_REDIS_URL=" + s.redis.URL, "WARDSTREAM_POSTGRES_URL=" + s.postgres.URL}
	dir := t.TempDir()
	s.detector, s.config = filepath.Join(dir, "detector"), filepath.Join(dir, "detector.yaml")
	if err := testenv.Build(dir, "../../cmd/detector", "../../cmd/ingress-check"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(s.configuration()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.command("migrate"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"detector 1", "detector 2"} {
		s.workers = append(s.workers, s.start(name, s.detector, "run", "--config", s.config, "--consumer", strings.ReplaceAll(name, " ", "-")))
	}
	serve := []string{
		"serve", "--addr", "127.0.0.1:0", "--key-prefix", "ws", "--trusted-proxies", "127.0.0.0/8", "--timeout", "5s",
		"--user-header", userHeader, "--session-header", sessionHeader,
	}
	s.ingress = []*process{
		s.start("ingress-check", filepath.Join(dir, "ingress-check"), serve...),
		s.start("ingress-check --mirror", filepath.Join(dir, "ingress-check"), append(serve, "--mirror")...),
	}
	return s
}

// configuration is that of the detectors.
func (s *soak) configuration() string {
	rule := func(name string, threshold int) string {
		return fmt.Sprintf("- {name: %s, threshold: %d, window: %s}\n", name, threshold, s.window)
	}
	return fmt.Sprintf(`
key_prefix: ws
http: {addr: "127.0.0.1:0"}
events: {stdout: false, stream: "%s", stream_max_len: 2000}
windows: {lateness: %s}
stream: {names: ["%s"], group: %s, claim_min_idle: 10s, retention: 1m, dead_max_len: 100}
blocks: {default_ttl: %s}
rules:
- {name: %s, fields: [email]}
%s`, enforcement, s.window, stream, group, s.ttl, changeRule, rule(guessRule, guessAt)+rule(scanRule, scanAt)+rule(crawlRule, crawlAt))
}

// run publishes for as long as it shall, has all others do their part meanwhile, and returns what
// was sampled.
func (s *soak) run() []sample {
	publishing, cancel := context.WithTimeout(context.Background(), *duration)
	defer cancel()
	s.began = time.Now()
	var probes, others sync.WaitGroup
	for range 16 {
		probes.Go(s.probe)
	}
	others.Go(func() { s.check(publishing, 0) })
	others.Go(func() { s.check(publishing, 1) })
	others.Go(func() { s.operate(publishing) })
	others.Go(func() { s.read(publishing) })
	var samples []sample
	others.Go(func() { samples = s.watch(publishing) })
	if err := s.publish(publishing, newCrowd(s.seed, s.rate)); err != nil {
		s.wrong("%v", err)
		close(s.attacks)
	}
	cancel()
	others.Wait()
	probes.Wait()
	return samples
}

// wrong notes what must not be.
func (s *soak) wrong(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const kept = 50
	if len(s.problems) >= kept {
		s.more++
		return
	}
	text := fmt.Sprintf(format, args...)
	s.problems = append(s.problems, text)
	fmt.Fprintf(os.Stderr, "soak: after %s: %s\n", time.Since(s.began).Round(time.Second), text)
}
