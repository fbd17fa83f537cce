package detector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
)

const shedding = "stream: {max_lag: 1m, overload: shed, shed_types: [http.response.success, \"http.response.redir*\", \"audit.*\"]}\n"

// TestShedding: what is late, of a type that may be shed, and not tried before
// is done without a look. All else is handled.
func TestShedding(t *testing.T) {
	t.Parallel()
	long, ago := 10*time.Minute, 30*time.Second
	for name, tt := range map[string]struct {
		fields    []string
		age       time.Duration
		tried     bool
		config    string
		shed      int
		evaluated int
		verdict   string
	}{
		"late and benign":      {[]string{"event_type", "http.response.success"}, long, false, shedding, 1, 0, "D"},
		"late, as JSON":        {[]string{"event", `{"event_type":"http.response.success"}`}, long, false, shedding, 1, 0, "D"},
		"late, by beginning":   {[]string{"event_type", "http.response.redirect"}, long, false, shedding, 1, 0, "D"},
		"late, by name":        {[]string{"event_name", "http.response.success"}, long, false, shedding, 1, 0, "D"},
		"fresh":                {[]string{"event_type", "http.response.success"}, ago, false, shedding, 0, 1, "D"},
		"from the future":      {[]string{"event_type", "http.response.success"}, -long, false, shedding, 0, 1, "D"},
		"tried before":         {[]string{"event_type", "http.response.success"}, long, true, shedding, 0, 1, "D"},
		"late, of other types": {[]string{"event_type", "auth.login.success"}, long, false, shedding, 0, 1, "D"},
		"late, and no event":   {[]string{"no", "type"}, long, false, shedding, 0, 0, "X"},
		"of enforcement":       {[]string{"event_type", "audit.enforcement.alert"}, long, false, shedding, 0, 0, "D"},
		"in order":             {[]string{"event_type", "http.response.success"}, long, false, "stream: {max_lag: 1m}\n", 0, 1, "D"},
		"by default":           {[]string{"event_type", "http.response.success"}, long, false, "", 0, 1, "D"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bruteForce+tt.config)
			b.start = time.Now().Add(-tt.age)
			entry := b.entry(tt.fields...)
			entry.Tried = tt.tried
			b.must(tt.verdict, entry)
			if shed, seen := testutil.ToFloat64(b.metrics.shed), testutil.ToFloat64(b.metrics.evaluated); shed != float64(tt.shed) || seen != float64(tt.evaluated) {
				t.Errorf("shed %v, evaluated %v", shed, seen)
			}
		})
	}
}

// TestSheddingAgrees: Redis skips no entry that the pipeline wouldn't, but for late ones of such a
// type that would be dead letters.
func TestSheddingAgrees(t *testing.T) {
	t.Parallel()
	entries := [][]string{
		{"event_type", "first"}, // which says that the group is behind
		{"event_type", "http.response.success", "source.address", "::1"},
		{"source.address", "::1", "event_type", "http.response.success"},
		{"event_type", "http.response.redirect"},
		{"event_type", "http.response.success", "payload", `{"event_type":"c"}`},
		{"event_type", "http.response.success", "event", "login"},
		{"event", `{"event_type":"http.response.success"}`},
		{"event_type", "http.response.success", "event", `{"event_type":"c"}`},
		{"event_name", "http.response.success"},
		{"event_type", "http.response.success", "event_name", "c"},
		{"event_type", "auth.login.failed"},
		{"event_type", "http.response.success", "event_type", "c"},
		{"event_type", " ", "event_name", "http.response.success"},
		{"event_type", " http.response.success"},
		{"event_type", `["http.response.success"]`},
		{"event_type", "http.response.success\n"},
		{"event_type", "http.response.redirect \r\n"},
		{"event_type", "\"http.response.success\""},
		{"event_type", "'http.response.redirect'"},
		{"event_type", "http.response.redirect\xff"},
		{"event_type", "http.response.success\x00"},
		{"event_type", "http.response.success", "a", "\xff"},
		{"event_type", "http.response.success", "message", `{"event_type":"c"}`},
		{"message", `{"event_type":"http.response.success"}`},
		{"event_type", "http.response.success", "event_type", "http.response.success"},
		{"event.name", "http.response.success"},
		{"a", "http.response.success"},
	}
	b, env := newBench(t, bruteForce+shedding), testenv.Redis(t)
	b.start = time.Now().Add(-time.Hour)
	stream := env.Prefix + ":events"
	for i, fields := range entries {
		if _, err := b.handle(b.entry(fields...)); err != nil {
			t.Fatal(err)
		}
		if err := env.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: fmt.Sprintf("%d-1", b.start.UnixMilli()+int64(i)), Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	d, stop := detecting(t, env, stream, `batch_size: 1, max_lag: 1m, overload: shed, shed_types: [http.response.success, "http.response.redir*"]`)
	defer stop()
	testenv.Eventually(t, time.Minute, func() error { return done(t.Context(), env, stream, len(entries)) })
	awaitMetric(t, d, fmt.Sprintf("wardstream_events_skipped_total{reason=\"shed\"} %v", testutil.ToFloat64(b.metrics.shed)))
}

// stoppedClock is a Redis that does not return its time.
type stoppedClock struct{}

func (stoppedClock) Time(context.Context, string) (time.Time, error) { return time.Time{}, errDown }

func TestSheddingWithoutClockShedsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce+shedding)
	b.shedder.clock = stoppedClock{}
	b.start = time.Now().Add(-time.Hour)
	got, err := b.handle(append(b.failures(5, "203.0.113.9"), b.entry("event_type", "http.response.success"))...)
	if got != "DDDDDD" || !errors.Is(err, errDown) || testutil.ToFloat64(b.metrics.evaluated) != 6 {
		t.Errorf("verdicts %s, %v", got, err)
	}
}

// TestBacklog: a worker finds a backlog that is late. If it sheds it skips what is benign, and
// counts it; attackers among it are blocked, and nothing else is lost. If it
// doesn't, it handles everything.
func TestBacklog(t *testing.T) {
	t.Parallel()
	const benign, attackers, fresh = 3000, 20, 50
	for _, overload := range []string{config.InOrder, config.Shed} {
		t.Run(overload, func(t *testing.T) {
			t.Parallel()
			env := testenv.Redis(t)
			stream := env.Prefix + ":events"
			backlog(t, env, stream, time.Now().Add(-time.Hour), benign, attackers)
			backlog(t, env, stream, time.Now(), fresh, 0)
			d, stop := detecting(t, env, stream, "batch_size: 100, max_lag: 10m, overload: "+overload)
			testenv.Eventually(t, time.Minute, func() error { return done(t.Context(), env, stream, 5*attackers+benign+fresh) })
			wantShed := 0
			if overload == config.Shed {
				wantShed = benign
			}
			awaitMetric(t, d, fmt.Sprintf("wardstream_events_skipped_total{reason=\"shed\"} %d", wantShed))
			awaitMetric(t, d, fmt.Sprintf("wardstream_events_evaluated_total %d", benign+fresh+5*attackers-wantShed))
			stop()
			for i := range attackers {
				if n := env.Client.Exists(t.Context(), env.Prefix+":block:ip:"+attackerAddress(i)).Val(); n != 1 {
					t.Errorf("%s is not blocked", attackerAddress(i))
				}
			}
			if n := env.Client.XLen(t.Context(), rediskey.DeadLetters(stream)).Val(); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

// detecting runs a detector of one stream, and returns it and what ends it.
func detecting(t *testing.T, env *testenv.RedisEnv, stream, settings string) (*Detector, func()) {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(`
redis: {url: "`+env.URL+`"}
key_prefix: "`+env.Prefix+`"
stream: {names: ["`+stream+`"], `+settings+`}
rules: [{name: brute_force_login}]
blocks: {default_ttl: 2h}
events: {stdout: false, stream: ""}
http: {addr: "127.0.0.1:0"}
`), config.Options{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx, t.Context()) }()
	return d, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// awaitMetric waits until the detector's metrics have a line.
func awaitMetric(t *testing.T, d *Detector, line string) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		res, err := http.Get("http://" + d.Addr() + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || !strings.Contains(string(body), "\n"+line+"\n") {
			return fmt.Errorf("the metrics have no %s (%w)", line, err)
		}
		return nil
	})
}

func attackerAddress(i int) string { return fmt.Sprintf("203.0.113.%d", i) }

// backlog publishes as if at the given time: benign events, in two encodings, and attackers' among
// them.
func backlog(t *testing.T, env *testenv.RedisEnv, stream string, at time.Time, benign, attackers int) {
	t.Helper()
	_, err := env.Client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		n := 0
		add := func(fields ...string) {
			n++
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: fmt.Sprintf("%d-%d", at.UnixMilli(), n), Values: fields})
		}
		for i := range benign {
			if i%3 == 0 {
				add("event", `{"event_type":"http.response.redirect","source":{"address":"198.51.100.7"}}`)
			} else {
				add("event_type", "http.response.success", "source.address", "198.51.100.7")
			}
			if i < 5*attackers {
				add("event_type", "auth.login.failed", "source.address", attackerAddress(i%attackers), "user.name", "eve")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// done says whether the group has read n entries and acked all of them.
func done(ctx context.Context, env *testenv.RedisEnv, stream string, n int) error {
	groups, err := env.Client.XInfoGroups(ctx, stream).Result()
	if err != nil {
		return err
	}
	if len(groups) != 1 || groups[0].EntriesRead != int64(n) || groups[0].Pending != 0 {
		return fmt.Errorf("groups %+v", groups)
	}
	return nil
}
