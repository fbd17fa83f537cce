package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestWorkerReadsFromStartHandlesAndAcks(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ids := b.add(300) // before there is a group
	odd := []string{"a", "1", "a", "2", "", "", "bin\x00\xff", "\r\n$5\r\n", "long", strings.Repeat("x", 70_000)}
	id, err := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: odd}).Result()
	if err != nil {
		t.Fatal(err)
	}
	h := &recorder{}
	w := b.start(b.options(), h)
	b.allHandled(append(ids, id), h)

	e := h.entry(id)
	if !slices.Equal(e.Fields, odd) {
		t.Errorf("fields are %q, want %q", e.Fields, odd)
	}
	if e.Stream != b.stream || e.ID != id || e.Deliveries != 1 {
		t.Errorf("entry is %q %q, delivery %d", e.Stream, e.ID, e.Deliveries)
	}
	for _, id := range ids {
		if n := h.times(id); n != 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
	for _, name := range []string{"wardstream_entries_delivered_total", "wardstream_entries_acked_total"} {
		b.eventually(func() error { return want(name, w.metric(name), 301.0) })
	}
	if h.largest > 64 {
		t.Errorf("a batch of %d", h.largest)
	}
}

// TestBatchIsAckedByOneCommand counts the commands.
func TestBatchIsAckedByOneCommand(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ids := b.add(320) // five batches
	h, o := &recorder{}, b.options()
	acks := &refusal{name: "xack"} // counts, and refuses none
	o.Clients.Ops.AddHook(acks)
	b.start(o, h)
	b.allHandled(ids, h)
	if n := -acks.left.Load(); n < 1 || n > 10 {
		t.Errorf("%d acks for 320 entries in batches of 64", n)
	}
}

func TestTwoConsumersShareStream(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	one, two := b.options(), b.options()
	one.Consumer, two.Consumer = "one", "two"
	one.BatchSize, two.BatchSize = 8, 8
	// Each waits in its first batch until the other has one too.
	var both sync.WaitGroup
	both.Add(2)
	meet := func() func(context.Context, []Entry) ([]Verdict, error) {
		var once sync.Once
		return func(_ context.Context, batch []Entry) ([]Verdict, error) {
			once.Do(func() { both.Done(); both.Wait() })
			return all(batch, Done), nil
		}
	}
	h1, h2 := &recorder{handle: meet()}, &recorder{handle: meet()}
	b.start(one, h1)
	b.start(two, h2)
	ids := b.add(500)
	b.allHandled(ids, h1, h2)
	for _, id := range ids {
		if n := h1.times(id) + h2.times(id); n != 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
	if len(h1.ids()) == 0 || len(h2.ids()) == 0 {
		t.Errorf("shares are %d and %d", len(h1.ids()), len(h2.ids()))
	}
}

func TestSeveralStreams(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	o := b.options()
	o.Streams = []string{b.prefix + ":0", b.prefix + ":1", b.prefix + ":2"}
	h := &recorder{}
	w := b.start(o, h)
	var ids []string
	for i, s := range o.Streams {
		id, err := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: s, ID: fmt.Sprintf("%d-1", i+1), Values: []string{"s", s}}).Result()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	b.eventually(func() error { return want("handled", len(h.ids()), len(ids)) })
	for i, id := range ids {
		if got := h.entry(id).Stream; got != o.Streams[i] {
			t.Errorf("%s came from %q", id, got)
		}
	}
	for i, health := range w.Health() {
		if health.Stream != o.Streams[i] || !health.Joined || health.Progress.IsZero() {
			t.Errorf("health is %+v", health)
		}
	}
}

func TestDeadConsumersEntriesAreClaimed(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.add(150)
	left := b.deliver("dead", 150)
	o := b.options()
	o.ClaimMinIdle = 200 * time.Millisecond
	h := &recorder{}
	w := b.start(o, h)
	fresh := b.add(10)
	b.allHandled(append(left, fresh...), h)
	for _, id := range left {
		if e := h.entry(id); e.Deliveries != 2 {
			t.Errorf("%s: delivery %d, want 2", id, e.Deliveries)
		}
	}
	if got := w.metric("wardstream_entries_claimed_total"); got != 150 {
		t.Errorf("claimed %v", got)
	}
}

func TestOwnPendingEntriesAreRecoveredFirst(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.add(100)
	left := b.deliver("w-0", 100) // what a process of the same name had
	fresh := b.add(5)
	var mu sync.Mutex
	var order []string
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range batch {
			order = append(order, e.ID)
		}
		return all(batch, Done), nil
	}}
	b.start(b.options(), h)
	b.allHandled(append(left, fresh...), h)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(order, append(left, fresh...)) {
		t.Errorf("order is %v", order)
	}
}

func TestHeartbeatKeepsInFlightEntriesFromBeingClaimed(t *testing.T) {
	t.Parallel()
	cases := map[string]func(release chan struct{}) func(context.Context, []Entry) ([]Verdict, error){
		"while handled": func(release chan struct{}) func(context.Context, []Entry) ([]Verdict, error) {
			return func(_ context.Context, batch []Entry) ([]Verdict, error) {
				<-release
				return all(batch, Done), nil
			}
		},
		"while waiting": func(release chan struct{}) func(context.Context, []Entry) ([]Verdict, error) {
			return func(_ context.Context, batch []Entry) ([]Verdict, error) {
				select {
				case <-release:
					return all(batch, Done), nil
				default:
					return all(batch, Pending), errOutage
				}
			}
		},
	}
	for name, handle := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			release := make(chan struct{})
			ids := b.add(3)
			owner := &recorder{handle: handle(release)}
			o := b.options()
			o.ClaimMinIdle = 3 * time.Second
			b.start(o, owner)
			t.Cleanup(func() { close(release) }) // before the worker is stopped
			b.eventually(func() error { return want("handled", len(owner.ids()), 3) })

			other := b.options()
			other.Consumer, other.ClaimMinIdle = "other", o.ClaimMinIdle
			h := &recorder{}
			b.start(other, h)
			b.eventually(func() error { return olderThan(b, ids[0], 3*o.ClaimMinIdle) })
			if got := h.ids(); len(got) != 0 {
				t.Errorf("the other consumer claimed %v", got)
			}
		})
	}
}

// olderThan returns nil once the entry is older than d by Redis's clock.
func olderThan(b *fixture, id string, d time.Duration) error {
	now, err := b.client.Time(context.Background()).Result()
	if err != nil {
		return err
	}
	var ms int64
	if _, err := fmt.Sscanf(id, "%d-", &ms); err != nil {
		return err
	}
	if age := now.Sub(time.UnixMilli(ms)); age <= d {
		return fmt.Errorf("%s is %s old", id, age)
	}
	return nil
}

func TestShutdownFinishesBatch(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	entered, release := make(chan struct{}), make(chan struct{})
	h := &recorder{handle: func(ctx context.Context, batch []Entry) ([]Verdict, error) {
		close(entered) // a second batch would panic
		<-release
		if ctx.Err() != nil {
			return all(batch, Pending), ctx.Err()
		}
		return all(batch, Done), nil
	}}
	w := b.start(b.options(), h)
	ids := b.add(10)
	<-entered
	w.cancel()
	b.add(5) // is not read any more
	close(release)
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	if got := h.ids(); len(got) > len(ids) {
		t.Errorf("handled %d entries", len(got))
	}
	if n, err := b.pending(); err != nil || n != 0 {
		t.Errorf("%d pending, %v", n, err)
	}
	consumers, err := b.client.XInfoConsumers(context.Background(), b.stream, testGroup).Result()
	if err != nil || len(consumers) != 0 {
		t.Errorf("consumers left: %v, %v", consumers, err)
	}
	if w.Health()[0].Joined {
		t.Error("a stopped consumer says it has joined")
	}
}

func TestShutdownLeavesRetryQueuePending(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		return all(batch, Pending), errOutage
	}}
	w := b.start(b.options(), h)
	ids := b.add(3)
	b.eventually(func() error { return want("handled", len(h.ids()), 3) })
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.pending(); err != nil || n != 3 {
		t.Fatalf("%d pending, %v", n, err)
	}
	next := &recorder{}
	b.start(b.options(), next)
	b.allHandled(ids, next)
}

func TestShutdownGraceExpires(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	cases := map[string]struct {
		grace time.Duration
		end   func(*worker)
		want  error
	}{
		"by itself": {50 * time.Millisecond, func(w *worker) { w.cancel() }, errGrace},
		"by Kill":   {time.Hour, func(w *worker) { w.cancel(); w.Kill() }, errKilled},
		"Kill only": {time.Hour, func(w *worker) { w.Kill() }, errKilled},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &fixture{t: t, url: b.url, client: b.client, prefix: b.prefix, stream: b.prefix + ":" + name}
			entered := make(chan struct{})
			h := &recorder{handle: func(ctx context.Context, batch []Entry) ([]Verdict, error) {
				close(entered)
				<-ctx.Done()
				return all(batch, Pending), ctx.Err()
			}}
			o := b.options()
			o.Grace = tc.grace
			w := b.start(o, h)
			b.add(1)
			<-entered
			tc.end(w)
			if err := w.wait(); !errors.Is(err, tc.want) {
				t.Errorf("Run returned %v, want %v", err, tc.want)
			}
			if n, err := b.pending(); err != nil || n != 1 {
				t.Errorf("%d pending, %v", n, err)
			}
		})
	}
}

// TestRunLeavesNoGoroutine is not parallel: other tests' goroutines would come and go.
func TestRunLeavesNoGoroutine(t *testing.T) {
	b := newFixture(t)
	o := b.options()
	for _, c := range []redis.UniversalClient{o.Clients.Ops, o.Clients.Read, b.client} {
		if err := c.Ping(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	before := goleak.IgnoreCurrent()
	h := &recorder{}
	w := b.start(o, h)
	b.allHandled(b.add(10), h)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if err := o.Clients.Close(); err != nil {
		t.Fatal(err)
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func TestLargeEntriesAreReadInSmallBatches(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	o := b.options()
	var mu sync.Mutex
	var sizes []int
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, len(batch))
		return all(batch, Done), nil
	}}
	ids := b.add(100, "big", strings.Repeat("x", 1<<20))
	b.start(o, h)
	b.allHandled(ids, h)
	mu.Lock()
	defer mu.Unlock()
	if slices.Max(sizes[1:]) > readBytes>>20 {
		t.Errorf("batches of %v, each entry 1 MiB", sizes)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	cases := map[string]struct {
		change func(*Options)
		want   error
	}{
		"no clients":       {func(o *Options) { o.Clients.Read = nil }, errNoClients},
		"no streams":       {func(o *Options) { o.Streams = nil }, errNoStreams},
		"an empty stream":  {func(o *Options) { o.Streams = []string{""} }, errNoStreams},
		"the same stream":  {func(o *Options) { o.Streams = []string{"a", "b", "a"} }, errDuplicate},
		"no group":         {func(o *Options) { o.Group = "" }, errNoGroup},
		"negative size":    {func(o *Options) { o.BatchSize = -1 }, errBadSetting},
		"negative timeout": {func(o *Options) { o.Timeout = -1 }, errBadSetting},
	}
	for name, tc := range cases {
		o := b.options()
		tc.change(&o)
		if _, err := New(o, &recorder{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: New returned %v, want %v", name, err, tc.want)
		}
	}
	if _, err := New(b.options(), nil); !errors.Is(err, errNoHandler) {
		t.Errorf("without a handler New returned %v", err)
	}
	o := b.options()
	o.Block, o.Consumer = time.Hour, ""
	c, err := New(o, &recorder{})
	if err != nil {
		t.Fatal(err)
	}
	if c.options.Block > time.Second || c.options.Consumer == "" {
		t.Errorf("Block is %s, Consumer %q", c.options.Block, c.options.Consumer)
	}
}
