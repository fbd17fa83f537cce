package detector

import (
	"bytes"
	"fmt"
	"log/slog"
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

// An uncountedRig is an uncounted with a clock and a log to look at.
type uncountedRig struct {
	*uncounted

	log   bytes.Buffer
	clock time.Time
}

func newUncountedRig() *uncountedRig {
	r := &uncountedRig{clock: time.UnixMilli(1_800_000_000_000).UTC()}
	r.uncounted = newUncounted(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&r.log, nil)), func() time.Time { return r.clock })
	return r
}

func TestUncountedBoundsEventTypes(t *testing.T) {
	t.Parallel()
	r := newUncountedRig()
	for i := range 3 * maxUncountedTypes {
		r.note(&event.Event{Type: fmt.Sprint("made.up.", i), ID: "1-1"}, "", rules.NoRule)
	}
	r.note(&event.Event{Type: strings.Repeat("x", 1000)}, "r", rules.NoScope)
	if n := testutil.CollectAndCount(r.total); n != maxUncountedTypes+2 {
		t.Errorf("%d series", n)
	}
	if got := testutil.ToFloat64(r.total.WithLabelValues("other", "", "no_rule")); got != 2*maxUncountedTypes {
		t.Errorf("%v others", got)
	}
	if top := r.top(); len(top) != maxUncountedTypes+2 || top[0].EventType != "other" || top[0].Count != 2*maxUncountedTypes || top[0].ID != "1-1" {
		t.Errorf("%d kinds, first %+v", len(top), top[0])
	}
}

func TestUncountedSamplesAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	r := newUncountedRig()
	e := event.Event{Type: "auth.login.failed", Stream: "s", ID: "7-0", Attrs: []event.Attr{
		{Name: "source.address", Value: strings.Repeat("long ", 100)}, {Name: "source.ip", Value: "203.0.113.9"},
	}}
	for range 60 {
		r.note(&e, "brute_force_login", rules.BadAddress)
		r.clock = r.clock.Add(time.Second - time.Millisecond)
	}
	if n := strings.Count(r.log.String(), "\n"); n != 1 {
		t.Fatalf("%d lines within a minute:\n%s", n, &r.log)
	}
	r.clock = r.clock.Add(time.Minute)
	r.note(&e, "brute_force_login", rules.BadAddress)
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

func TestUncountedSumsAllWorkers(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	keys := rediskey.Keys{Prefix: env.Prefix}
	for i, worker := range []string{"w1", "w2"} {
		r := newUncountedRig()
		r.clock = r.clock.Add(time.Duration(i) * time.Hour)
		if err := r.write(t.Context(), env.Client, keys.Uncounted(worker)); err != nil {
			t.Fatal(err)
		}
		if n := env.Client.Exists(t.Context(), keys.Uncounted(worker)).Val(); n != 0 {
			t.Errorf("%s writes nothing into a key", worker)
		}
		for n := range 2 + i {
			r.note(&event.Event{Type: "a", Stream: "s", ID: fmt.Sprintf("%d-%d", i, n)}, "r", rules.NoScope)
		}
		r.note(&event.Event{Type: worker}, "", rules.NoRule)
		if err := r.write(t.Context(), env.Client, keys.Uncounted(worker)); err != nil {
			t.Fatal(err)
		}
		if ttl := env.Client.PTTL(t.Context(), keys.Uncounted(worker)).Val(); ttl <= 0 || ttl > uncountedTTL {
			t.Errorf("%s lasts %s", worker, ttl)
		}
	}
	if err := env.Client.Set(t.Context(), keys.Uncounted("w3"), "{what is this", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadUncounted(t.Context(), env.Client, env.Prefix, []string{"w1", "w2", "w3", "gone"})
	if err != nil || len(got) != 3 || got[0].Count != 5 || got[0].EventType != "a" || got[0].Rule != "r" || got[0].Reason != rules.NoScope || got[0].ID != "1-2" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ReadUncounted(t.Context(), env.Client, env.Prefix, []string{"gone"}); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
