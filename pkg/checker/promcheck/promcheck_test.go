package promcheck_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/promcheck"
)

// A lookup has user 42 blocked and fails for user "down".
type lookup struct{}

var errDown = errors.New("dial tcp 10.1.2.3:6379: no route to host")

func (lookup) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	switch scopes[0].Value {
	case "42":
		return []checker.Block{{Scope: scopes[0], Rule: "rule"}}, nil
	case "down":
		return nil, errDown
	}
	return nil, nil
}

func (lookup) HonoursDeadline() bool { return true }

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	metrics, err := promcheck.Register(reg)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 0)
	clock := func() time.Time { at = at.Add(2 * time.Millisecond); return at }
	var heard int
	other := checker.WithOnDecision(func(context.Context, checker.Subject, checker.Decision, time.Duration) { heard++ })
	c := checker.New(lookup{}, metrics, other, checker.WithClock(clock), checker.WithFailClosed(regexp.MustCompile("^/pay")))
	for _, s := range []checker.Subject{
		{User: "42"}, {User: "42"}, {User: "43"}, {}, {User: "down", Path: "/x"}, {User: "down", Path: "/pay"},
	} {
		c.Check(t.Context(), s)
	}
	c.Fail(t.Context(), checker.Subject{Path: "/x"}, checker.NewError("no_client", "no client"))
	want := `
# HELP wardstream_checker_decisions_total Checks by result: allowed, blocked, or failed and decided by the fail mode (failed_open, failed_closed).
# TYPE wardstream_checker_decisions_total counter
wardstream_checker_decisions_total{result="allowed"} 2
wardstream_checker_decisions_total{result="blocked"} 2
wardstream_checker_decisions_total{result="failed_closed"} 1
wardstream_checker_decisions_total{result="failed_open"} 2
# HELP wardstream_checker_errors_total Checks that failed, by kind of error.
# TYPE wardstream_checker_errors_total counter
wardstream_checker_errors_total{type="no_client"} 1
wardstream_checker_errors_total{type="unavailable"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wardstream_checker_decisions_total", "wardstream_checker_errors_total"); err != nil {
		t.Error(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != "wardstream_checker_check_duration_seconds" {
			continue
		}
		if h := f.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 7 || h.GetSampleSum() < 7*.002 {
			t.Errorf("durations %v", h)
		}
		found = true
	}
	if !found || heard != 7 {
		t.Errorf("histogram found: %v; another hook heard of %d decisions", found, heard)
	}
	if text := exposition(t, reg); strings.Contains(text, "10.1.2.3") || strings.Contains(text, `"42"`) {
		t.Errorf("labels hold an address or a user:\n%s", text)
	}
}

func exposition(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		text.WriteString(f.String())
	}
	return text.String()
}

func TestRegisterTwice(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	for _, name := range []string{"a", "b"} {
		if _, err := promcheck.Register(prometheus.WrapRegistererWith(prometheus.Labels{"checker": name}, reg)); err != nil {
			t.Errorf("checker %s: %v", name, err)
		}
	}
	if _, err := promcheck.Register(prometheus.WrapRegistererWith(prometheus.Labels{"checker": "a"}, reg)); err == nil {
		t.Error("the same metrics were registered twice")
	}
}

func BenchmarkCheck(b *testing.B) {
	metrics, err := promcheck.Register(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	for name, opts := range map[string][]checker.Option{"plain": nil, "counted": {metrics}} {
		b.Run(name, func(b *testing.B) {
			c := checker.New(lookup{}, opts...)
			b.ReportAllocs()
			for b.Loop() {
				c.Check(b.Context(), checker.Subject{User: "43"})
			}
		})
	}
}
