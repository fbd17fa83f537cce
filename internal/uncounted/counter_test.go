package uncounted

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/testenv"
)

// A rig is a Counter with a clock and a log to look at.
type rig struct {
	*Counter

	log   bytes.Buffer
	clock time.Time
}

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func newRig() *rig {
	r := &rig{clock: time.UnixMilli(1_800_000_000_000).UTC()}
	r.Counter = New(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&r.log, nil)), func() time.Time { return r.clock })
	return r
}

func TestCounterBoundsEventTypes(t *testing.T) {
	t.Parallel()
	r := newRig()
	for i := range 3 * maxTypes {
		r.Note(&event.Event{Type: fmt.Sprint("made.up.", i), ID: "1-1"}, "", rules.NoRule)
	}
	r.Note(&event.Event{Type: strings.Repeat("x", 1000)}, "r", rules.NoScope)
	if n := testutil.CollectAndCount(r.total); n != maxTypes+2 {
		t.Errorf("%d series", n)
	}
	if got := testutil.ToFloat64(r.total.WithLabelValues("other", "", "no_rule")); got != 2*maxTypes {
		t.Errorf("%v others", got)
	}
	if top := r.Top(); len(top) != maxTypes+2 || top[0].EventType != "other" || top[0].Count != 2*maxTypes || top[0].ID != "1-1" {
		t.Errorf("%d kinds, first %+v", len(top), top[0])
	}
}

func TestCounterLogsASampleOnceAMinute(t *testing.T) {
	t.Parallel()
	r := newRig()
	e := event.Event{Type: "auth.login.failed", Stream: "s", ID: "7-0", Attrs: []event.Attr{
		{Name: "source.address", Value: strings.Repeat("long ", 100)}, {Name: "source.ip", Value: "203.0.113.9"},
	}}
	for range 60 {
		r.Note(&e, "brute_force_login", rules.BadAddress)
		r.clock = r.clock.Add(time.Second - time.Millisecond)
	}
	if n := strings.Count(r.log.String(), "\n"); n != 1 {
		t.Fatalf("%d lines within a minute:\n%s", n, &r.log)
	}
	r.clock = r.clock.Add(time.Minute)
	r.Note(&e, "brute_force_login", rules.BadAddress)
	lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
	for _, part := range []string{"left_out=59", "id=7-0", "rule=brute_force_login", "reason=bad_address", "source.ip", "event_type=auth.login.failed"} {
		if len(lines) != 2 || !strings.Contains(lines[1], part) {
			t.Errorf("the log lacks %s:\n%s", part, &r.log)
		}
	}
	if len(lines[0]) > 500 {
		t.Errorf("a sample of %d bytes", len(lines[0]))
	}
}

func TestReadSumsAllWorkers(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	keys := rediskey.Keys{Prefix: env.Prefix}
	for i, worker := range []string{"w1", "w2"} {
		r := newRig()
		r.clock = r.clock.Add(time.Duration(i) * time.Hour)
		if err := r.write(t.Context(), env.Client, keys.Uncounted(worker)); err != nil {
			t.Fatal(err)
		}
		if n := env.Client.Exists(t.Context(), keys.Uncounted(worker)).Val(); n != 0 {
			t.Errorf("%s writes nothing into a key", worker)
		}
		for n := range 2 + i {
			r.Note(&event.Event{Type: "a", Stream: "s", ID: fmt.Sprintf("%d-%d", i, n)}, "r", rules.NoScope)
		}
		r.Note(&event.Event{Type: worker}, "", rules.NoRule)
		if err := r.write(t.Context(), env.Client, keys.Uncounted(worker)); err != nil {
			t.Fatal(err)
		}
		if ttl := env.Client.PTTL(t.Context(), keys.Uncounted(worker)).Val(); ttl <= 0 || ttl > writtenTTL {
			t.Errorf("%s lasts %s", worker, ttl)
		}
	}
	if err := env.Client.Set(t.Context(), keys.Uncounted("w3"), "{what is this", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(t.Context(), env.Client, env.Prefix, []string{"w1", "w2", "w3", "gone"})
	if err != nil || len(got) != 3 || got[0].Count != 5 || got[0].EventType != "a" || got[0].Rule != "r" || got[0].Reason != rules.NoScope || got[0].ID != "1-2" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Read(t.Context(), env.Client, env.Prefix, []string{"gone"}); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
