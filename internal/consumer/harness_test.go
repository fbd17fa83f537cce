package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/deadletter"
	"github.com/wardstream/wardstream/internal/resp"
	"github.com/wardstream/wardstream/internal/testenv"
)

// patience is how long a test waits for what must happen, on a machine however busy.
const patience = 60 * time.Second

const testGroup = "detectors"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	os.Exit(testenv.Main(m))
}

// errOutage stands for a failure of Postgres or Redis in a handler.
var errOutage = errors.New("store unreachable")

// A recorder is a handler that notes how often each entry was handled. handle, if
// any, gives the verdicts; otherwise all are done.
type recorder struct {
	handle func(ctx context.Context, batch []Entry) ([]Verdict, error)

	mu      sync.Mutex
	seen    map[string]int   // by entry ID
	entries map[string]Entry // as last delivered
	largest int              // batch
}

func (l *recorder) Handle(ctx context.Context, _ *Turn, batch []Entry) ([]Verdict, error) {
	l.note(batch)
	if l.handle != nil {
		return l.handle(ctx, batch)
	}
	return all(batch, Done), nil
}

func (l *recorder) note(batch []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen, l.entries = map[string]int{}, map[string]Entry{}
	}
	for _, e := range batch {
		l.seen[e.ID]++
		l.entries[e.ID] = e
	}
	l.largest = max(l.largest, len(batch))
}

func (l *recorder) times(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[id]
}

func (l *recorder) entry(id string) Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[id]
}

func (l *recorder) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.seen))
}

// A logRecorder is where a worker's log goes that a test looks at.
type logRecorder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *logRecorder) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

// have reports whether one line holds all of these texts.
func (n *logRecorder) have(texts ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for line := range strings.Lines(n.text.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}

// count returns how many lines hold the text.
func (n *logRecorder) count(text string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.text.String(), text)
}

func all(batch []Entry, s Status) []Verdict {
	v := make([]Verdict, len(batch))
	for i := range v {
		v[i].Status = s
	}
	return v
}

// A fixture is a stream of a test's own, and what its consumers need.
type fixture struct {
	t      testing.TB
	url    string
	client *redis.Client
	prefix string
	stream string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	env := testenv.Redis(t)
	return &fixture{t: t, url: env.URL, client: env.Client, prefix: env.Prefix, stream: env.Prefix + ":events"}
}

func privateFixture(t testing.TB, args ...string) (*fixture, *testenv.PrivateRedisEnv) {
	t.Helper()
	env := testenv.PrivateRedis(t, args...)
	return &fixture{t: t, url: env.URL, client: env.Client, prefix: env.Prefix, stream: env.Prefix + ":events"}, env
}

// A worker is a running consumer.
type worker struct {
	*Consumer

	t        testing.TB
	registry *prometheus.Registry
	cancel   context.CancelFunc
	result   chan error
}

// options are those of a worker, quick but safe on a busy machine.
func (b *fixture) options() Options {
	b.t.Helper()
	clients, err := Connect(b.url, ConnectOptions{Block: 50 * time.Millisecond, Timeout: 5 * time.Second})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = clients.Close() })
	return Options{
		Clients: clients, Streams: []string{b.stream}, Group: testGroup, Consumer: "w", Prefix: b.prefix,
		BatchSize: 64, Block: 50 * time.Millisecond, Timeout: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(b.t.Output(), nil)),
	}
}

// start runs a consumer until the test ends.
func (b *fixture) start(o Options, h Handler) *worker {
	b.t.Helper()
	w := &worker{t: b.t, registry: prometheus.NewRegistry(), result: make(chan error, 1)}
	o.Registerer = w.registry
	var err error
	if w.Consumer, err = New(o, h); err != nil {
		b.t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go func() { w.result <- w.Run(ctx) }()
	b.t.Cleanup(func() { _ = w.stop() })
	return w
}

// stop stops the worker, once, and returns what Run did.
func (w *worker) stop() error {
	w.t.Helper()
	w.cancel()
	return w.wait()
}

func (w *worker) wait() error {
	w.t.Helper()
	select {
	case err := <-w.result:
		w.result <- err // for the next caller
		return err
	case <-time.After(patience):
		w.t.Error("the worker does not stop")
		return nil
	}
}

// metric returns the sum of a metric over its labels.
func (w *worker) metric(name string) float64 {
	w.t.Helper()
	return gathered(w.t, w.registry, name)
}

func gathered(t testing.TB, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// add adds n entries and returns their IDs.
func (b *fixture) add(n int, fields ...string) []string {
	b.t.Helper()
	ids := make([]string, n)
	pipe := b.client.Pipeline()
	cmds := make([]*redis.StringCmd, n)
	for i := range n {
		cmds[i] = pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: append([]string{"n", fmt.Sprint(i)}, fields...)})
	}
	if _, err := pipe.Exec(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	for i, cmd := range cmds {
		ids[i] = cmd.Val()
	}
	return ids
}

// deliver has another consumer read n entries and do nothing with them.
func (b *fixture) deliver(consumer string, n int64) []string {
	b.t.Helper()
	ctx := context.Background()
	if err := b.client.XGroupCreateMkStream(ctx, b.stream, testGroup, "0").Err(); err != nil && !resp.IsError(err, "BUSYGROUP") {
		b.t.Fatal(err)
	}
	read, err := b.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: testGroup, Consumer: consumer, Streams: []string{b.stream, ">"}, Count: n, Block: -1,
	}).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for _, m := range read[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// pending returns how many entries of the stream are pending.
func (b *fixture) pending() (int64, error) {
	p, err := b.client.XPending(context.Background(), b.stream, testGroup).Result()
	if err != nil {
		return 0, err
	}
	return p.Count, nil
}

// eventually waits until check returns nil.
func (b *fixture) eventually(check func() error) {
	b.t.Helper()
	testenv.Eventually(b.t, patience, check)
}

// allHandled waits until every given entry was handled and nothing is pending or unread.
func (b *fixture) allHandled(ids []string, recorders ...*recorder) {
	b.t.Helper()
	b.eventually(func() error {
		for _, id := range ids {
			n := 0
			for _, l := range recorders {
				n += l.times(id)
			}
			if n == 0 {
				return fmt.Errorf("%s was not handled", id)
			}
		}
		if n, err := b.pending(); err != nil || n != 0 {
			return fmt.Errorf("%d pending, %w", n, err)
		}
		return nil
	})
}

// deadLetters returns all dead letters.
func (b *fixture) deadLetters() []deadletter.Letter {
	b.t.Helper()
	letters, err := deadletter.NewQueue(b.client, b.stream).List(context.Background(), "", 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	return letters
}

func want(what string, got, want any) error {
	if got != want {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

func TestMetricsAreWellFormed(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	m.of("s").deadLetter("panic: x")
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("problems %v, %v", problems, err)
	}
	if _, err := newMetrics(registry); err == nil {
		t.Error("registering twice is not an error")
	}
}
