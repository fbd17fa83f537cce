package sinks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
)

const patience = 20 * time.Second

// collector is a sink that keeps what it is given. While gate is held it
// blocks; while err is set it fails.
type collector struct {
	gate sync.Mutex
	mu   sync.Mutex
	ids  []string
	err  error
	seen int // calls
}

func (c *collector) Emit(_ context.Context, batch []wire.Enforcement) error {
	c.gate.Lock()
	defer c.gate.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen++
	for i := range batch {
		if c.err == nil {
			c.ids = append(c.ids, batch[i].ID)
		}
	}
	return c.err
}

func (c *collector) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *collector) got() (ids []string, calls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.ids...), c.seen
}

// has checks that exactly these events arrived, in order.
func (c *collector) has(want ...[]wire.Enforcement) error {
	var ids []string
	for _, batch := range want {
		for i := range batch {
			ids = append(ids, batch[i].ID)
		}
	}
	if got, _ := c.got(); strings.Join(got, " ") != strings.Join(ids, " ") {
		return fmt.Errorf("%d events arrived, want %d, or in another order", len(got), len(ids))
	}
	return nil
}

// log is where a Fanout's lines go.
type log struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), text)
}

type fixture struct {
	*sinks.Fanout
	reg *prometheus.Registry
	log *log
}

func fanout(t *testing.T, o sinks.Options, named ...sinks.Named) fixture {
	t.Helper()
	f := fixture{reg: prometheus.NewRegistry(), log: &log{}}
	o.Registerer, o.Logger, o.Now = f.reg, slog.New(slog.NewTextHandler(f.log, nil)), time.Now
	if o.Backoff == 0 {
		o.Backoff = time.Millisecond
	}
	var err error
	if f.Fanout, err = sinks.NewFanout(o, named...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = f.Close(ctx) // the tests that care look at it themselves
	})
	return f
}

func (f fixture) emit(t *testing.T, batch []wire.Enforcement) {
	t.Helper()
	if err := f.Emit(t.Context(), batch); err != nil {
		t.Errorf("Emit: %v", err)
	}
}

// metric is the value of a sink's metric.
func (f fixture) metric(t *testing.T, name, sink string) float64 {
	t.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == sink {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, sink)
	return 0
}

// failed waits until a sink has failed n times.
func (f fixture) failed(t *testing.T, sink string, n float64) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		if got := f.metric(t, "wardstream_events_failures_total", sink); got < n {
			return fmt.Errorf("%v failures", got)
		}
		return nil
	})
}

func TestFanoutDeliversToEverySink(t *testing.T) {
	t.Parallel()
	var a, b collector
	f := fanout(t, sinks.Options{Budget: patience}, sinks.Named{Name: "a", Sink: &a}, sinks.Named{Name: "b", Sink: &b})
	first, second := alerts("first", 3), alerts("second", 700)
	f.emit(t, first)
	f.emit(t, nil)
	f.emit(t, second)
	for name, sink := range map[string]*collector{"a": &a, "b": &b} {
		if err := sink.has(first, second); err != nil { // Emit has waited for it
			t.Errorf("%s: %v", name, err)
		}
		if n := f.metric(t, "wardstream_events_emitted_total", name); n != 703 {
			t.Errorf("%s: %v events counted", name, n)
		}
	}
	if problems, err := testutil.GatherAndLint(f.reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

// TestFanoutBlockedSinkDelaysNoOther: a sink that hangs delays no other and gets its
// events once it goes on; Emit soon stops waiting for it, and waits again when it has
// caught up.
func TestFanoutBlockedSinkDelaysNoOther(t *testing.T) {
	t.Parallel()
	var good, stuck collector
	f := fanout(t, sinks.Options{Budget: 20 * time.Millisecond}, sinks.Named{Name: "stuck", Sink: &stuck}, sinks.Named{Name: "good", Sink: &good})
	stuck.gate.Lock()
	var batches [][]wire.Enforcement
	for i := range 10 {
		batches = append(batches, alerts(fmt.Sprint(i), 2))
		f.emit(t, batches[i])
	}
	testenv.Eventually(t, patience, func() error { return good.has(batches...) })
	if _, calls := stuck.got(); calls != 0 {
		t.Fatal("the blocked sink took something")
	}
	if n := f.log.count("sink is slow"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if n := f.metric(t, "wardstream_events_queued", "stuck"); n != 20 {
		t.Errorf("%v events wait", n)
	}
	stuck.gate.Unlock()
	testenv.Eventually(t, patience, func() error { return stuck.has(batches...) })
	if n := f.metric(t, "wardstream_events_dropped_total", "stuck"); n != 0 {
		t.Errorf("%v events dropped", n)
	}
}

// TestFanoutDoesNotWaitForFailingSink: with a budget that no test outlasts,
// Emit returns from a sink that fails, and after its recovery only when it has the
// events.
func TestFanoutDoesNotWaitForFailingSink(t *testing.T) {
	t.Parallel()
	var sink collector
	f := fanout(t, sinks.Options{Budget: time.Hour}, sinks.Named{Name: "s", Sink: &sink})
	sink.fail(errors.New("down"))
	down := [][]wire.Enforcement{alerts("a", 2), alerts("b", 2), alerts("c", 2)}
	for _, batch := range down {
		f.emit(t, batch)
	}
	f.failed(t, "s", 3)
	sink.fail(nil)
	testenv.Eventually(t, patience, func() error {
		if n := f.metric(t, "wardstream_events_queued", "s"); n != 0 {
			return fmt.Errorf("%v events wait", n)
		}
		return sink.has(down...)
	})
	up := alerts("up", 2)
	f.emit(t, up)
	if err := sink.has(append(down, up)...); err != nil {
		t.Error(err)
	}
	if f.log.count("sink failed") != 1 || f.log.count("sink recovered") != 1 {
		t.Errorf("logged: %s", f.log.String())
	}
}

func TestFanoutDropsOverflow(t *testing.T) {
	t.Parallel()
	var good, stuck collector
	f := fanout(t, sinks.Options{Queue: 5, Budget: time.Millisecond}, sinks.Named{Name: "stuck", Sink: &stuck}, sinks.Named{Name: "good", Sink: &good})
	stuck.gate.Lock()
	a, b, c := alerts("a", 3), alerts("b", 3), alerts("c", 3)
	for _, batch := range [][]wire.Enforcement{a, b, c} {
		f.emit(t, batch)
		testenv.Eventually(t, patience, func() error {
			if n := f.metric(t, "wardstream_events_queued", "good"); n != 0 {
				return fmt.Errorf("%v events wait", n)
			}
			return nil
		})
	}
	stuck.gate.Unlock()
	testenv.Eventually(t, patience, func() error { return errors.Join(stuck.has(a, b[:2]), good.has(a, b, c)) })
	if n := f.metric(t, "wardstream_events_dropped_total", "stuck"); n != 4 {
		t.Errorf("%v events dropped, want 4", n)
	}
	if n := f.metric(t, "wardstream_events_dropped_total", "good"); n != 0 {
		t.Errorf("%v events of the good sink dropped", n)
	}
	if f.log.count("events dropped") != 1 {
		t.Errorf("logged: %s", f.log.String())
	}
}

func TestFanoutDrainsOnClose(t *testing.T) {
	t.Parallel()
	var sink collector
	f := fanout(t, sinks.Options{Budget: time.Millisecond}, sinks.Named{Name: "s", Sink: &sink})
	sink.gate.Lock()
	var batches [][]wire.Enforcement
	for i := range 5 {
		batches = append(batches, alerts(fmt.Sprint(i), 300))
		f.emit(t, batches[i])
	}
	closed := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		closed <- f.Close(ctx)
	}()
	sink.gate.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := sink.has(batches...); err != nil {
		t.Error(err)
	}
	f.emit(t, alerts("late", 2))
	if n := f.metric(t, "wardstream_events_dropped_total", "s"); n != 2 {
		t.Errorf("%v events dropped after Close, want 2", n)
	}
}

func TestFanoutCloseTimesOut(t *testing.T) {
	t.Parallel()
	var good, broken, stuck collector
	f := fanout(t, sinks.Options{Budget: time.Millisecond},
		sinks.Named{Name: "good", Sink: &good}, sinks.Named{Name: "broken", Sink: &broken}, sinks.Named{Name: "stuck", Sink: &stuck})
	broken.fail(errors.New("down"))
	stuck.gate.Lock()
	batch := alerts("x", 3)
	f.emit(t, batch)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := f.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "sink broken: 3") || !strings.Contains(err.Error(), "sink stuck: 3") || strings.Contains(err.Error(), "good") {
		t.Errorf("Close: %v", err)
	}
	if err := good.has(batch); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"broken", "stuck"} {
		if n := f.metric(t, "wardstream_events_dropped_total", name); n != 3 {
			t.Errorf("%s: %v events dropped", name, n)
		}
	}
	stuck.gate.Unlock()
}

// panicky panics once and then takes what it is given.
type panicky struct {
	once sync.Once
	collector
}

func (p *panicky) Emit(ctx context.Context, batch []wire.Enforcement) error {
	p.once.Do(func() { panic("at the first call") })
	return p.collector.Emit(ctx, batch)
}

func TestFanoutSurvivesPanic(t *testing.T) {
	t.Parallel()
	var sink panicky
	f := fanout(t, sinks.Options{}, sinks.Named{Name: "p", Sink: &sink})
	batch := alerts("x", 1)
	f.emit(t, batch)
	testenv.Eventually(t, patience, func() error { return sink.has(batch) })
}

func TestFanoutConcurrentEmit(t *testing.T) {
	t.Parallel()
	var a, b collector
	f := fanout(t, sinks.Options{Queue: 1 << 20}, sinks.Named{Name: "a", Sink: &a}, sinks.Named{Name: "b", Sink: &b})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				_ = f.Emit(t.Context(), alerts(fmt.Sprint(i, j), 2))
			}
		})
	}
	wg.Wait()
	testenv.Eventually(t, patience, func() error {
		for _, sink := range []*collector{&a, &b} {
			if ids, _ := sink.got(); len(ids) != 800 {
				return fmt.Errorf("%d events", len(ids))
			}
		}
		return nil
	})
}

func TestFanoutMetricsRegisterTwice(t *testing.T) {
	t.Parallel()
	f := fanout(t, sinks.Options{})
	if _, err := sinks.NewFanout(sinks.Options{Registerer: f.reg, Logger: slog.New(slog.DiscardHandler), Now: time.Now}); err == nil {
		t.Error("two Fanouts share a registry")
	}
}

// TestFanoutSurvivesRedisOutage: while the stream's Redis is dead another sink goes
// on; once it is back the events are there, none of them missing.
func TestFanoutSurvivesRedisOutage(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	o, err := redis.ParseURL(env.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	client := redis.NewClient(o)
	defer client.Close()
	var good collector
	f := fanout(t, sinks.Options{Budget: 100 * time.Millisecond, Backoff: 5 * time.Millisecond},
		sinks.Named{Name: "stream", Sink: sinks.NewStream(client, sinks.StreamOptions{Name: "audit:enforcement", MaxLen: 1000, Origin: origin()})},
		sinks.Named{Name: "good", Sink: &good})

	f.emit(t, alerts("before", 3))
	env.Kill()
	batches := [][]wire.Enforcement{alerts("before", 3)}
	for i := range 20 {
		batches = append(batches, alerts(fmt.Sprint(i), 5))
		f.emit(t, batches[i+1])
	}
	testenv.Eventually(t, patience, func() error { return good.has(batches...) })
	f.failed(t, "stream", 2)
	env.Restart()
	testenv.Eventually(t, patience, func() error {
		n, err := client.XLen(t.Context(), "audit:enforcement").Result()
		if err == nil && n < 100 {
			err = fmt.Errorf("%d entries", n)
		}
		return err
	})
	if n := f.metric(t, "wardstream_events_dropped_total", "stream"); n != 0 {
		t.Errorf("%v events dropped", n)
	}
}
