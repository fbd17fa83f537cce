package detector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/streamclock"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/uncounted"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/rediswindow"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/schema"
)

// A bench is a pipeline over real stores, with what it emits taken down.
type bench struct {
	*Pipeline
	t        *testing.T
	redis    *testenv.RedisEnv
	registry *prometheus.Registry
	durable  *faultyDurable

	mu      sync.Mutex
	emitted []wire.Enforcement
	entries int
	start   time.Time
}

func (b *bench) Emit(_ context.Context, events []wire.Enforcement) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.emitted = append(b.emitted, events...)
	return nil
}

// faultyDurable is the durable tier, out of reach on demand.
type faultyDurable struct {
	*pgstore.Blocks
	down bool
}

var errDown = errors.New("connection refused")

func (f *faultyDurable) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	if f.down {
		return nil, errDown
	}
	return f.Blocks.Put(ctx, puts)
}

// newBench makes a pipeline of a configuration.
func newBench(t *testing.T, text string) *bench {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text), config.Options{Hostname: "test"})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, redis: testenv.Redis(t), registry: prometheus.NewRegistry(), start: time.Now().Add(-time.Second)}
	cache, err := redisstore.NewBlocks(b.redis.Client, redisstore.BlockOptions{Prefix: b.redis.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	env := testenv.Postgres(t)
	db := stdlib.OpenDBFromPool(env.Pool)
	t.Cleanup(func() { _ = db.Close() })
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	durable, err := pgstore.New(env.Pool, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.durable = &faultyDurable{Blocks: durable}
	b.Pipeline = &Pipeline{
		decoder: wire.NewDecoder(cfg.Decoder), rules: cfg.RuleSet, policy: cfg.Policy, shedder: newShedder(&cfg.Stream, b.redis.Client), clock: streamclock.Clock{Client: b.redis.Client},
		windows: rediswindow.New(b.redis.Client, b.redis.Prefix, nil), blocks: tiered.New(cache, b.durable, tiered.Options{}),
		cooldowns: cooldown.New(b.redis.Client, b.redis.Prefix, time.Now), sinks: b, now: time.Now,
		metrics: newPipelineMetrics(b.registry), uncounted: uncounted.New(b.registry, slog.New(slog.DiscardHandler), time.Now),
	}
	return b
}

// entry is an entry that comes a millisecond after the one before.
func (b *bench) entry(fields ...string) consumer.Entry {
	b.entries++
	at := b.start.Add(time.Duration(b.entries) * time.Millisecond)
	return consumer.Entry{Stream: "s", ID: fmt.Sprintf("%d-0", at.UnixMilli()), Fields: fields, Deliveries: 1}
}

// handle runs a batch through the pipeline and returns its verdicts as letters: D for
// done, X for dead, P for pending.
func (b *bench) handle(entries ...consumer.Entry) (string, error) {
	b.t.Helper()
	verdicts, err := b.Handle(b.t.Context(), nil, entries)
	return letters(verdicts), err
}

func letters(verdicts []consumer.Verdict) string {
	var out strings.Builder
	for _, v := range verdicts {
		out.WriteByte("PDX"[v.Status])
	}
	return out.String()
}

func (b *bench) must(want string, entries ...consumer.Entry) {
	b.t.Helper()
	got, err := b.handle(entries...)
	if err != nil || got != want {
		b.t.Fatalf("verdicts %s (%v), want %s", got, err, want)
	}
}

func (b *bench) failures(n int, ip string) []consumer.Entry {
	entries := make([]consumer.Entry, n)
	for i := range entries {
		entries[i] = b.entry("event_type", "auth.login.failed", "source.address", ip, "user.name", "eve")
	}
	return entries
}

func (b *bench) blocked(typ, value string) (checker.Block, bool) {
	b.t.Helper()
	blocks, err := b.blocks.Lookup(b.t.Context(), []checker.Scope{{Type: typ, Value: value}})
	if err != nil {
		b.t.Fatal(err)
	}
	if len(blocks) == 0 {
		return checker.Block{}, false
	}
	return blocks[0], true
}

const bruteForce = "rules: [{name: brute_force_login}]\n"

func TestPipelineAttackInOneBatchIsOneBlock(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	attack := b.failures(8, "203.0.113.9")
	b.must("DDDDDDDD", attack...)
	block, ok := b.blocked("ip", "203.0.113.9")
	if !ok {
		t.Fatal("not blocked")
	}
	if want := wire.EnforcementID(attack[4].ID, "brute_force_login", "ip", "203.0.113.9"); block.ID != want {
		t.Errorf("the block's ID is %s, want that of the fifth failure, %s", block.ID, want)
	}
	if last := b.start.Add(8 * time.Millisecond).Add(5 * time.Minute); block.ExpiresAt.Sub(last).Abs() > time.Millisecond {
		t.Errorf("it expires at %s, want five minutes after the last failure, %s", block.ExpiresAt, last)
	}
	if len(b.emitted) != 1 || b.emitted[0].Type != wire.TypeBlockApplied || b.emitted[0].ID != block.ID {
		t.Errorf("emitted %+v", b.emitted)
	}
	if n := testutil.ToFloat64(b.metrics.matches.WithLabelValues("brute_force_login")); n != 4 {
		t.Errorf("%v matches, want 4", n)
	}
}

func TestPipelineRedeliveryChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce+"blocks: {default_ttl: 10m}\n")
	attack := b.failures(5, "203.0.113.9")
	b.must("DDDDD", attack...)
	first, _ := b.blocked("ip", "203.0.113.9")
	b.must("DDDDD", attack...)
	again, _ := b.blocked("ip", "203.0.113.9")
	if !first.ExpiresAt.Equal(again.ExpiresAt) || first.ID != again.ID {
		t.Errorf("the block was %+v and is %+v", first, again)
	}
	b.must("D", b.failures(1, "203.0.113.10")...)
	if _, ok := b.blocked("ip", "203.0.113.10"); ok {
		t.Error("another client is blocked")
	}
	for _, e := range b.emitted {
		if e.ID != first.ID {
			t.Errorf("emitted %s for another decision", e.ID)
		}
	}
}

func TestPipelineRedeliveryEmitsMissedEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	attack := b.failures(5, "203.0.113.9")
	b.must("DDDDD", attack...)
	before := b.emitted
	b.emitted = nil // as if the worker had died before it emitted and acked
	b.must("DDDDD", attack...)
	if len(b.emitted) != 1 || b.emitted[0].ID != before[0].ID {
		t.Errorf("emitted %+v, want again %s", b.emitted, before[0].ID)
	}
}

func TestPipelineMalformedEntryIsDeadNextIsHandled(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	good := b.failures(4, "203.0.113.9")
	entries := []consumer.Entry{
		b.entry("event", "{"), good[0], b.entry("no", "type"), good[1], b.entry("event_type", "x", "user.id", "1", "user.id", "2"),
		good[2], b.entry("event_type", "\xff\xfe"), b.entry("event_type", "x", "big", strings.Repeat("x", 2<<20)), good[3],
		b.entry("event", strings.Repeat(`{"a":`, 5000)+strings.Repeat("}", 5000)), b.entry(), b.failures(1, "203.0.113.9")[0],
	}
	b.must("XDXDXDXXDXXD", entries...)
	if _, ok := b.blocked("ip", "203.0.113.9"); !ok {
		t.Error("the failures among them did not count")
	}
}

func TestPipelineSkipsEnforcementEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	var entries []consumer.Entry
	for _, typ := range []string{"audit.enforcement.block_applied", "audit.rule.match", "audit.context.x"} {
		entries = append(entries, b.entry("event_type", typ, "source.address", "203.0.113.9"))
	}
	b.must("DDD", entries...)
	if n := testutil.ToFloat64(b.metrics.skipped); n != 3 {
		t.Errorf("%v skipped, want 3", n)
	}
	if n := testutil.ToFloat64(b.metrics.evaluated); n != 0 {
		t.Errorf("%v evaluated, want 0", n)
	}
	keys, err := b.redis.Client.Keys(t.Context(), b.redis.Prefix+":*").Result()
	if err != nil || len(keys) > 0 {
		t.Errorf("state was touched: %v (%v)", keys, err)
	}
}

func TestPipelinePostgresDownDelaysNothingElse(t *testing.T) {
	t.Parallel()
	b := newBench(t, "rules: [{name: brute_force_login}, {name: sensitive_field_change, fields: [email]}]\n")
	b.durable.down = true
	change := b.entry("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "42")
	batch := append(b.failures(5, "203.0.113.9"), change)
	got, err := b.handle(batch...)
	if got != "DDDDDP" || !errors.Is(err, errDown) {
		t.Fatalf("verdicts %s, error %v", got, err)
	}
	if _, ok := b.blocked("ip", "203.0.113.9"); !ok {
		t.Error("the temporary block waited for Postgres")
	}
	if block, ok := b.blocked("user", "42"); !ok || !block.Permanent() {
		t.Errorf("the permanent block did not take effect at once: %+v", block)
	}
	b.durable.down = false
	b.must("D", change)
	if rows, err := b.durable.List(t.Context(), 0); err != nil || len(rows) != 1 || rows[0].Scope.Value != "42" {
		t.Errorf("Postgres has %v (%v)", rows, err)
	}
}

func TestPipelineRedisDownLeavesEntriesPending(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	private := testenv.PrivateRedis(t)
	b.windows = rediswindow.New(private.Client, "p", nil)
	private.Kill()
	entries := append(b.failures(2, "203.0.113.9"), b.entry("event_type", "nobody.wants"), b.entry("bad", ""))
	if got, err := b.handle(entries...); got != "PPDX" || err == nil {
		t.Errorf("verdicts %s, error %v", got, err)
	}
}

func TestPipelineAlertsOncePerCooldown(t *testing.T) {
	t.Parallel()
	b := newBench(t, "rules: [{name: resource_enumeration, threshold: 3}]\n")
	visit := func(ip string, n int) consumer.Entry {
		return b.entry("event_type", "http.response.success", "source.address", ip, "http.route", "/u/<id>", "url.path", fmt.Sprint("/u/", n))
	}
	for i := range 6 {
		b.must("D", visit("203.0.113.9", i))
	}
	b.must("DDDD", visit("203.0.113.10", 0), visit("203.0.113.10", 1), visit("203.0.113.10", 2), visit("203.0.113.10", 3))
	if len(b.emitted) != 2 || b.emitted[0].SourceAddress != "203.0.113.9" || b.emitted[1].SourceAddress != "203.0.113.10" || b.emitted[0].Type != wire.TypeAlert {
		t.Fatalf("emitted %+v", b.emitted)
	}
	if n := testutil.ToFloat64(b.metrics.alerts.WithLabelValues("resource_enumeration", "repeated")); n != 4 {
		t.Errorf("%v repeated, want 4", n)
	}
	if _, ok := b.blocked("ip", "203.0.113.9"); ok {
		t.Error("an alert blocked")
	}
}

func TestPipelineObserveAndAllowlistAlert(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"observe": "mode: observe\n", "allowlist": "allowlist: [203.0.113.0/24]\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bruteForce+text)
			b.must("DDDDDD", b.failures(6, "203.0.113.9")...)
			if _, ok := b.blocked("ip", "203.0.113.9"); ok {
				t.Error("blocked")
			}
			if len(b.emitted) != 1 || b.emitted[0].Type != wire.TypeAlert || b.emitted[0].DryRun != (name == "observe") || b.emitted[0].Scope.Value != "203.0.113.9" {
				t.Errorf("emitted %+v", b.emitted)
			}
		})
	}
}

func TestPipelineUnblockOutranksEarlierEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	attack := b.failures(5, "203.0.113.9")
	b.must("DDDDD", attack...)
	op := &operator.Operator{Blocks: b.blocks, Sinks: b, StatusCode: 429, Message: "m", Now: time.Now}
	lifted, err := op.Unblock(t.Context(), operator.UnblockRequest{Scope: checker.Scope{Type: "ip", Value: "203.0.113.9"}, By: "ops", Reason: "customer"})
	if err != nil || len(lifted) != 1 {
		t.Fatalf("lifted %v (%v)", lifted, err)
	}
	b.must("DDDDD", attack...)
	if _, ok := b.blocked("ip", "203.0.113.9"); ok {
		t.Error("a redelivery undid the unblock")
	}
	if last := b.emitted[len(b.emitted)-1]; last.Type != wire.TypeBlockRevoked || last.RevokedBy != "ops" {
		t.Errorf("emitted %+v", last)
	}
	b.start = time.Now().Add(10 * time.Millisecond)
	b.must("DDDD", b.failures(4, "203.0.113.9")...)
	if _, ok := b.blocked("ip", "203.0.113.9"); ok {
		t.Error("what was counted before the unblock counts after it")
	}
	b.must("D", b.failures(1, "203.0.113.9")...)
	if _, ok := b.blocked("ip", "203.0.113.9"); !ok {
		t.Error("what comes after the unblock does not block")
	}
}

// TestPipelineUnblockResetsEveryRule: after an unblock it takes the whole threshold again, in every
// rule that counts, in one batch or one by one; of two rules that share a window each by its own
// threshold.
func TestPipelineUnblockResetsEveryRule(t *testing.T) {
	t.Parallel()
	const address = "203.0.113.9"
	const block = "\nactions: {resource_enumeration: {action: temp_block, scopes: [ip]}}\n"
	request := func(b *bench, _ int) consumer.Entry {
		return b.entry("event_type", "audit.http.request.pre", "source.address", address, "http.route", "/buy", "url.path", "/buy")
	}
	failure := func(b *bench, _ int) consumer.Entry { return b.failures(1, address)[0] }
	for name, c := range map[string]struct {
		config string
		needs  int
		entry  func(b *bench, i int) consumer.Entry
	}{
		"brute_force_login": {"rules: [{name: brute_force_login}]", 5, failure},
		"two thresholds":    {"rules: [{name: brute_force_login, threshold: 3}, {name: login_throttle, threshold: 8}]", 3, failure},
		"repeated_route":    {"rules: [{name: repeated_route, paths: [/buy]}]", 10, request},
		"repeated_client_error": {"rules: [{name: repeated_client_error, threshold: 6}]", 6, func(b *bench, _ int) consumer.Entry {
			return b.entry("event_type", "http.response.client_error", "source.address", address, "status", "404")
		}},
		"resource_enumeration": {"rules: [{name: resource_enumeration, threshold: 7}]" + block, 7, func(b *bench, i int) consumer.Entry {
			return b.entry("event_type", "http.response.success", "source.address", address, "http.route", "/o/{id}", "url.path", fmt.Sprint("/o/", i))
		}},
	} {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/together=%t", name, together), func(t *testing.T) {
				t.Parallel()
				b, next := newBench(t, c.config), 0
				handle := func(n int) (blocked bool) {
					t.Helper()
					var batch []consumer.Entry
					for range n {
						batch = append(batch, c.entry(b, next))
						next++
						if !together {
							b.must("D", batch...)
							batch = nil
						}
					}
					if together {
						b.must(strings.Repeat("D", n), batch...)
					}
					_, blocked = b.blocked("ip", address)
					return blocked
				}
				if handle(c.needs-1) || !handle(c.needs) {
					t.Fatal("before the unblock the threshold isn't what the test takes it for")
				}
				op := &operator.Operator{Blocks: b.blocks, Sinks: b, StatusCode: 429, Message: "m", Now: time.Now}
				if _, err := op.Unblock(t.Context(), operator.UnblockRequest{Scope: checker.Scope{Type: "ip", Value: address}, By: "ops"}); err != nil {
					t.Fatal(err)
				}
				b.start = time.Now().Add(10 * time.Millisecond)
				if handle(c.needs - 1) {
					t.Error("what was counted before the unblock counts after it")
				}
				if !handle(1) {
					t.Error("the whole threshold after the unblock does not block")
				}
			})
		}
	}
}

func TestPipelineRepeatOffendersAreBlockedLonger(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce+"blocks: {default_ttl: 1s}\nescalate: {factor: 10, max_ttl: 1m, memory: 1h, permanent_after: 3, permanent_ip: true}\n")
	want := []time.Duration{time.Second, 10 * time.Second, time.Minute}
	b.start = time.Now().Add(time.Hour) // a time of its own: nothing lapses meanwhile
	b.clock = &setClock{now: b.start.Add(24 * time.Hour)}
	for _, ttl := range want {
		attack := b.failures(5, "203.0.113.9")
		for range 2 { // a redelivery doesn't count as an offence
			b.must("DDDDD", attack...)
		}
		block, ok := b.blocked("ip", "203.0.113.9")
		begin := b.start.Add(time.Duration(b.entries) * time.Millisecond)
		if got := block.ExpiresAt.Sub(begin); !ok || got < ttl-time.Second/2 || got > ttl+time.Second/2 {
			t.Fatalf("blocked: %t, for %s, want %s", ok, got, ttl)
		}
		b.redis.Client.Del(t.Context(), b.redis.Prefix+":block:ip:203.0.113.9") // it ends
		b.start = b.start.Add(20 * time.Minute)
	}
	b.must("DDDDD", b.failures(5, "203.0.113.9")...)
	if block, ok := b.blocked("ip", "203.0.113.9"); !ok || !block.Permanent() {
		t.Errorf("the fourth block is %+v", block)
	}
}

func TestPipelineUnstorableBlockIsDead(t *testing.T) {
	t.Parallel()
	b := newBench(t, "rules: [{name: sensitive_field_change, fields: [email]}]\n")
	b.blocks = unstorable{b.blocks}
	if got, err := b.handle(b.entry("event_type", "model.update", "changed_fields", "email", "user.id", "42")); got != "X" || err != nil {
		t.Errorf("verdict %s, error %v", got, err)
	}
}

type unstorable struct{ store.Blocks }

func (unstorable) Put(_ context.Context, puts []store.Put) ([]store.Result, error) {
	results := make([]store.Result, len(puts))
	for i := range results {
		results[i].Err = fmt.Errorf("put: %w", store.ErrUnstorable)
	}
	return results, nil
}

func TestMetricsAreWellFormed(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	b.must("DDDDD", b.failures(5, "203.0.113.9")...)
	problems, err := testutil.GatherAndLint(b.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v (%v)", problems, err)
	}
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.Contains(l.GetValue(), "203.0.113") {
					t.Errorf("%s has an address as a label", f.GetName())
				}
			}
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	cfg, err := config.Parse("bench.yaml", []byte("rules: [{name: brute_force_login}, {name: repeated_client_error}, {name: resource_enumeration}]"), config.Options{Hostname: "b"})
	if err != nil {
		b.Fatal(err)
	}
	p := &Pipeline{
		decoder: wire.NewDecoder(cfg.Decoder), rules: cfg.RuleSet, policy: cfg.Policy, windows: noWindows{}, now: func() time.Time { return time.UnixMilli(1_800_000_001_000) },
		metrics: newPipelineMetrics(prometheus.NewRegistry()), uncounted: uncounted.New(prometheus.NewRegistry(), slog.New(slog.DiscardHandler), time.Now), sinks: noSinks{},
	}
	entries := make([]consumer.Entry, 512)
	for i := range entries {
		entries[i] = consumer.Entry{Stream: "s", ID: fmt.Sprintf("%d-0", 1_800_000_000_000+i), Fields: []string{
			"event_type", "http.response.client_error", "source.address", fmt.Sprint("198.51.100.", i%250), "http.route", "/orders/<id>",
			"url.path", fmt.Sprint("/orders/", i), "http.response.status_code", "404", "user.id", "7", "session.id", "s", "http.request.method", "GET",
		}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Handle(b.Context(), nil, entries); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/event")
}

// noWindows leaves the stores out of a benchmark of what is around them.
type noWindows struct{ window.Store }

func (noWindows) Apply(_ context.Context, ops []window.Op) ([]window.Count, error) {
	return make([]window.Count, len(ops)), nil
}

type noSinks struct{}

func (noSinks) Emit(context.Context, []wire.Enforcement) error { return nil }
