package report_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/report"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const patience = 30 * time.Second

// everybody is a Lookup that has every user blocked, and fails for addresses.
type everybody struct{}

var errDown = errors.New("dial tcp 10.1.2.3:6379: no route to host")

func (everybody) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	if scopes[0].Type == checker.ScopeIP {
		return nil, errDown
	}
	return []checker.Block{{Scope: scopes[0], Rule: "brute_force_login", Reason: "secret-reason", StatusCode: 403, ExpiresAt: until}}, nil
}

func (everybody) HonoursDeadline() bool { return true }

var (
	now   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	until = now.Add(5 * time.Minute)
)

func clock() time.Time { return now }

// once makes a Reporter that reports when it is closed.
func once(opts ...report.Option) *report.Reporter {
	return report.New(append([]report.Option{report.WithInterval(time.Hour), report.WithClock(clock)}, opts...)...)
}

func check(r *report.Reporter, subjects ...checker.Subject) {
	c := checker.New(everybody{}, r.Option(), checker.WithClock(clock), checker.WithFailClosed(regexp.MustCompile("^/pay")))
	for _, s := range subjects {
		c.Check(context.Background(), s)
	}
}

func closed(t testing.TB, r *report.Reporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

func decode(t testing.TB, text string) []wire.Enforcement {
	t.Helper()
	var out []wire.Enforcement
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		e, origin, err := wire.DecodeEnforcement([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if origin.Resource["service.name"] == "" {
			t.Errorf("service.name is missing in %s", line)
		}
		out = append(out, e)
	}
	return out
}

func ip(text string) netip.Addr { return netip.MustParseAddr(text) }

// TestOneEventForEachScope: however often it is denied.
func TestOneEventForEachScope(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var out bytes.Buffer
	r := once(report.WithWriter(&out), report.WithResource(map[string]string{"service.name": "shop"}), report.WithVersion("1.2.3"),
		report.WithTraceParent(func(context.Context) string { return trace }))
	first := checker.Subject{User: "42", Session: "s1", IP: ip("::ffff:203.0.113.9")}
	for range 100 {
		check(r, first, checker.Subject{User: "42", IP: ip("198.51.100.7")})
	}
	check(r, checker.Subject{User: "43"}, checker.Subject{})
	closed(t, r)
	got := decode(t, out.String())
	want := wire.Enforcement{
		Type: wire.TypeBlocked, Time: now, Observed: now, Scope: checker.Scope{Type: "user", Value: "42"}, Rule: "brute_force_login",
		Action: wire.ActionBlocked, ExpiresAt: until, StatusCode: 403, Count: 200, SourceAddress: "203.0.113.9", UserID: "42", SessionID: "s1",
		TraceParent: trace,
	}
	if len(got) != 2 || got[1].Scope.Value != "43" || got[1].Count != 1 || got[1].ID == got[0].ID || len(got[0].ID) != 32 {
		t.Fatalf("events %+v", got)
	}
	if want.ID = got[0].ID; got[0] != want {
		t.Errorf("event %+v, want %+v", got[0], want)
	}
	if text := out.String(); strings.Contains(text, "secret") || !strings.Contains(text, `"service.name":"shop"`) || !strings.Contains(text, `"version":"1.2.3"`) {
		t.Errorf("lines %s", text)
	}
	if s := r.Stats(); s != (report.Stats{Emitted: 2}) {
		t.Errorf("stats %+v", s)
	}
}

func TestFailuresByClassAndFailMode(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	r := once(report.WithWriter(&out), report.WithLogger(slog.New(slog.NewJSONHandler(&log, nil))))
	for n := range 50 {
		client := ip(fmt.Sprintf("203.0.113.%d", n))
		check(r, checker.Subject{IP: client, Path: "/x"}, checker.Subject{IP: client, Path: "/x"}, checker.Subject{IP: client, Path: "/pay"})
	}
	check(r, checker.Subject{User: "42"})
	closed(t, r)
	got := decode(t, out.String())
	if len(got) != 3 {
		t.Fatalf("events %+v", got)
	}
	for i, want := range []wire.Enforcement{
		{Type: wire.TypeEvaluationFailed, ErrorType: "unavailable", FailMode: "open", Count: 100, Time: now, Observed: now},
		{Type: wire.TypeEvaluationFailed, ErrorType: "unavailable", FailMode: "closed", Count: 50, Time: now, Observed: now},
	} {
		if want.ID = got[i].ID; got[i] != want || got[i].ID == got[2].ID {
			t.Errorf("event %+v, want %+v", got[i], want)
		}
	}
	if strings.Contains(out.String(), "10.1.2.3") {
		t.Errorf("an event has the text of an error: %s", out.String())
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, errDown.Error()) ||
		!strings.Contains(text, `"level":"ERROR","msg":"audit.enforcement.evaluation_failed"`) || !strings.Contains(text, `"enforcement.count":100`) {
		t.Errorf("log %s", text)
	}
}

// TestFloodOfScopesIsBounded: memory and trail are bounded, and the counts still add up.
func TestFloodOfScopesIsBounded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := once(report.WithWriter(&out), report.WithMaxScopes(10))
	for n := range 5000 {
		check(r, checker.Subject{User: fmt.Sprint(n)})
	}
	check(r, checker.Subject{User: "0"}, checker.Subject{IP: ip("203.0.113.9")}, checker.Subject{IP: ip("203.0.113.9")})
	closed(t, r)
	got := decode(t, out.String())
	if len(got) != 12 {
		t.Fatalf("%d events, want 10 and what the others add up to", len(got))
	}
	sum := 0
	for _, e := range got[:10] {
		sum += e.Count
	}
	rest, failed := got[10], got[11]
	if sum != 11 || rest.Count != 4990 || rest.Scope != (checker.Scope{}) || rest.Action != wire.ActionBlocked || rest.UserID != "" {
		t.Errorf("%d requests in the events of scopes; the rest is %+v", sum, rest)
	}
	if failed.Type != wire.TypeEvaluationFailed || failed.Count != 2 {
		t.Errorf("failures %+v", failed)
	}
}

func TestLongValuesAreCut(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := once(report.WithWriter(&out))
	check(r, checker.Subject{User: strings.Repeat("é", 30_000), Session: strings.Repeat("s", 30_000)})
	closed(t, r)
	if e := decode(t, out.String())[0]; len(e.Scope.Value) != 256 || len(e.SessionID) != 256 || len(e.UserID) != 256 {
		t.Errorf("values of %d, %d and %d bytes", len(e.Scope.Value), len(e.SessionID), len(e.UserID))
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	stream := env.Prefix + ":enforcement"
	r := once(report.WithStream(env.Client, stream, 100), report.WithMaxScopes(2000))
	for n := range 2000 {
		check(r, checker.Subject{User: fmt.Sprint(n)})
	}
	closed(t, r)
	entries, err := env.Client.XRange(t.Context(), stream, "-", "+").Result()
	if err != nil || len(entries) < 100 || len(entries) > 400 {
		t.Fatalf("%d entries, want about 100: %v", len(entries), err)
	}
	for _, entry := range entries {
		e, _, err := wire.DecodeEnforcement([]byte(entry.Values["event"].(string)))
		if err != nil || entry.Values["event_type"] != wire.TypeBlocked || entry.Values["enforcement.id"] != e.ID || e.Count != 1 {
			t.Errorf("entry %v: %v", entry.Values, err)
		}
	}
}

// A tap is a writer that fails or waits, and counts.
type tap struct {
	mu     sync.Mutex
	out    bytes.Buffer
	writes int
	fail   int           // as often
	wait   chan struct{} // nil: not
}

func (w *tap) Write(p []byte) (int, error) {
	if w.wait != nil {
		<-w.wait
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writes++; w.writes <= w.fail {
		return 0, errDown
	}
	return w.out.Write(p)
}

func (w *tap) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

// TestOneEventPerInterval: each interval has its own, under an ID of its own.
func TestOneEventPerInterval(t *testing.T) {
	t.Parallel()
	var out tap
	r := report.New(report.WithWriter(&out), report.WithInterval(20*time.Millisecond))
	var ids []string
	for n := 1; n <= 3; n++ {
		check(r, checker.Subject{User: "42"}, checker.Subject{User: "42"})
		testenv.Eventually(t, patience, func() error {
			total := 0
			for _, line := range strings.Split(strings.TrimSpace(out.text()), "\n") {
				if line != "" {
					total += decode(t, line)[0].Count
				}
			}
			if total != 2*n {
				return fmt.Errorf("%d requests are reported, want %d", total, 2*n)
			}
			return nil
		})
	}
	closed(t, r)
	for _, e := range decode(t, out.text()) {
		ids = append(ids, e.ID)
	}
	if len(ids) < 3 || ids[0] == ids[len(ids)-1] {
		t.Errorf("IDs %v", ids)
	}
}

// TestFailingSinkIsRetried: a failed write is retried, and no other sink waits for it.
func TestFailingSinkIsRetried(t *testing.T) {
	t.Parallel()
	flaky, dead, fine := &tap{fail: 2}, &tap{fail: 1 << 30}, &tap{}
	r := once(report.WithWriter(dead), report.WithWriter(flaky), report.WithWriter(fine))
	check(r, checker.Subject{User: "42"})
	closed(t, r)
	if flaky.text() != fine.text() || fine.text() == "" || fine.writes != 1 || flaky.writes != 3 || dead.writes != 5 {
		t.Errorf("%d, %d and %d writes; lines %q and %q", dead.writes, flaky.writes, fine.writes, flaky.text(), fine.text())
	}
	if s := r.Stats(); s != (report.Stats{Emitted: 2, Dropped: 1}) {
		t.Errorf("stats %+v", s)
	}
}

// TestStuckSinkDelaysNothing: neither requests nor other sinks wait for it, and Close returns by
// its deadline.
func TestStuckSinkDelaysNothing(t *testing.T) {
	t.Parallel()
	stuck, fine := &tap{wait: make(chan struct{})}, &tap{}
	defer close(stuck.wait)
	r := report.New(report.WithWriter(stuck), report.WithWriter(fine), report.WithInterval(time.Millisecond))
	testenv.Eventually(t, patience, func() error {
		check(r, checker.Subject{User: "42"})
		if s := r.Stats(); s.Dropped < 3 {
			return fmt.Errorf("stats %+v", s)
		}
		return nil
	})
	if fine.text() == "" {
		t.Error("the other sink waits")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v", err)
	}
	check(r, checker.Subject{User: "42"}) // is harmless
}

// Example reports to standard output and, for the SIEM, to the stream of the detectors' events.
func Example() {
	events := report.New(report.WithWriter(os.Stdout))
	c := checker.New(everybody{}, events.Option())
	c.Check(context.Background(), checker.Subject{User: "42"})
	// …and at the end:
	if err := events.Close(context.Background()); err == nil {
		fmt.Println(events.Stats().Emitted)
	}
}

func BenchmarkDenied(b *testing.B) {
	var out tap
	r := report.New(report.WithWriter(&out))
	defer closed(b, r)
	for name, opts := range map[string][]checker.Option{"bare": nil, "reported": {r.Option()}} {
		b.Run(name, func(b *testing.B) {
			c := checker.New(everybody{}, append(opts, checker.WithClock(clock))...)
			b.ReportAllocs()
			for b.Loop() {
				c.Check(b.Context(), checker.Subject{User: "42"})
			}
		})
	}
}
