package cases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/detector"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/schema"
)

// patience is how long entries may take on a busy machine.
const patience = 60 * time.Second

// A report takes down what is not as a case wants it.
type report func(format string, args ...any)

// A run is a worker over stores of its own, with a case's entries to handle.
type run struct {
	*testCase
	t      *testing.T
	report report
	cfg    *config.Config
	redis  *testenv.RedisEnv
	log    *buffer
	addr   string // of its metrics
	lastID string
	last   []string // the fields of the last entry
}

// detect publishes the entries, has a worker handle them and compares what comes of it.
func (c *testCase) detect(t *testing.T, report report) {
	t.Helper()
	cfg, err := config.Parse("config", []byte(c.Config), config.Options{Hostname: "case"})
	if c.Want.Refused != "" {
		if err == nil || !strings.Contains(err.Error(), c.Want.Refused) {
			report("the configuration: %v; want it refused with %q", err, c.Want.Refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range c.Want.Warnings {
		if !slices.ContainsFunc(cfg.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
			report("warnings %q; want one with %q", cfg.Warnings, want)
		}
	}
	if len(c.Entries) == 0 {
		return
	}
	r := &run{testCase: c, t: t, report: report, cfg: cfg, redis: testenv.Redis(t), log: &buffer{}}
	r.configure()
	r.publish()
	stop := r.start()
	testenv.Eventually(t, patience, r.settled)
	r.compare()
	stop()
}

// configure says where the stores are.
func (r *run) configure() {
	r.cfg.Redis.URL, r.cfg.KeyPrefix = config.URL(r.redis.URL), r.redis.Prefix
	r.cfg.Stream.Names, r.cfg.Stream.Block = []string{r.stream()}, 20*time.Millisecond
	r.cfg.Events.Stdout, r.cfg.Events.Stream = false, r.redis.Prefix+":enforcement"
	r.cfg.HTTP.Addr = "127.0.0.1:0"
	if !r.Postgres {
		r.cfg.Postgres.URL = ""
		return
	}
	env := testenv.Postgres(r.t)
	db := stdlib.OpenDBFromPool(env.Pool)
	defer db.Close()
	if _, err := schema.Migrate(r.t.Context(), db); err != nil {
		r.t.Fatal(err)
	}
	r.cfg.Postgres.URL = config.URL(env.URL)
}

func (r *run) stream() string { return r.redis.Prefix + ":events" }

// publish adds the entries under IDs that say when: the last of them about now.
func (r *run) publish() {
	type dated struct {
		at     time.Duration
		fields []string
	}
	var all []dated
	at := -time.Millisecond
	for _, e := range r.Entries {
		every := time.Millisecond
		if e.Every != nil {
			every = time.Duration(*e.Every)
		}
		if at += time.Millisecond; e.At != nil {
			at = time.Duration(*e.At)
		}
		for n := range max(e.Times, 1) {
			if n > 0 {
				at += every
			}
			all = append(all, dated{at, e.Fields.numbered(n)})
		}
	}
	start := time.Now().Add(-all[len(all)-1].at - time.Second)
	pipe := r.redis.Client.Pipeline()
	for i, e := range all {
		r.lastID, r.last = fmt.Sprintf("%d-%d", start.Add(e.at).UnixMilli(), i+1), e.fields
		pipe.XAdd(r.t.Context(), &redis.XAddArgs{Stream: r.stream(), ID: r.lastID, Values: e.fields})
	}
	if _, err := pipe.Exec(r.t.Context()); err != nil {
		r.t.Fatalf("publish the entries, each of which must be later than the one before: %v", err)
	}
}

// start runs a worker until what it returns is called.
func (r *run) start() (stop func()) {
	d, err := detector.New(r.t.Context(), r.cfg, detector.Options{
		Logger: slog.New(slog.NewJSONHandler(r.log, nil)), Getenv: func(string) string { return "" }, Version: "case",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = d.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, context.Background()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the worker ended: %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

var errUnsettled = errors.New("not all entries are handled")

// settled reports whether the group has read everything and nothing is pending.
func (r *run) settled() error {
	groups, err := r.redis.Client.XInfoGroups(r.t.Context(), r.stream()).Result()
	if err != nil {
		return fmt.Errorf("look at the group: %w", err)
	}
	if len(groups) != 1 || groups[0].LastDeliveredID != r.lastID || groups[0].Pending != 0 {
		return fmt.Errorf("group %+v, last entry %s: %w", groups, r.lastID, errUnsettled)
	}
	return nil
}

// A buffer holds a log.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what was written so far.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
