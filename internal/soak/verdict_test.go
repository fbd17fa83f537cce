package soak

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A series is something that must not grow.
type series struct {
	Name     string  `json:"name"`
	Third    float64 `json:"third_quarter"` // medians
	Last     float64 `json:"last_quarter"`
	Most     float64 `json:"bound"` // of the last
	relative float64 // what the last may exceed the third by
	absolute float64 // and this
	values   []float64
}

const fewest = 16 // samples that growth is judged by

// grows compares the medians of the third and the last quarter.
func (s *series) grows() bool {
	n := len(s.values)
	s.Third, s.Last = median(s.values[n/2:n*3/4]), median(s.values[n*3/4:])
	s.Most = s.Third*(1+s.relative) + s.absolute
	return s.Last > s.Most
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// watched are the series of samples, which aren't empty.
func watched(samples []sample) (out []*series) {
	const mib = 1 << 20
	add := func(name string, relative, absolute float64, of func(sample) float64) {
		next := &series{Name: name, relative: relative, absolute: absolute}
		for _, m := range samples {
			next.values = append(next.values, of(m))
		}
		out = append(out, next)
	}
	for i, p := range samples[0].Processes {
		add("RSS of "+p.Name, .10, 4*mib, func(m sample) float64 { return m.Processes[i].RSS })
		add("goroutines of "+p.Name, .10, 3, func(m sample) float64 { return m.Processes[i].Goroutines })
		add("files of "+p.Name, .10, 3, func(m sample) float64 { return m.Processes[i].Files })
	}
	add("Redis memory without the stream", .10, 1.5*mib, func(m sample) float64 { return m.RedisMemory - m.Stream })
	add("the stream", .50, mib, func(m sample) float64 { return m.Stream })
	add("Redis keys", .03, 50, func(m sample) float64 { return float64(m.keys()) })
	add("Redis connections", .10, 3, func(m sample) float64 { return float64(m.Clients) })
	add("Postgres connections", .10, 3, func(m sample) float64 { return float64(m.Backends) })
	add("active rows", .10, 8, func(m sample) float64 { return float64(m.Active) })
	add("lag", .10, float64(*rate), func(m sample) float64 { return float64(m.Lag) })
	return out
}

// verdict says what came of the run, and fails the test if that isn't good.
func (s *soak) verdict(samples []sample) {
	var found []*series
	judged := *duration >= settled && len(samples) >= fewest
	if judged {
		for _, one := range watched(samples) {
			if one.grows() {
				s.wrong("%s grows: %.4g in the third quarter, %.4g in the last, at most %.4g", one.Name, one.Third, one.Last, one.Most)
			}
			found = append(found, one)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result := struct {
		Verdict   string    `json:"verdict"`
		Seed      uint64    `json:"seed"`
		Duration  string    `json:"duration"`
		Published int64     `json:"events_published"`
		Attacks   int       `json:"attacks"`
		Unsure    int       `json:"attacks_uncertain"`
		Checks    int64     `json:"checks"`
		Unblocks  int64     `json:"unblocks"`
		Judged    bool      `json:"growth_judged"`
		Series    []*series `json:"series,omitempty"`
		Problems  []string  `json:"problems,omitempty"`
	}{
		"good", s.seed, time.Since(s.began).Round(time.Second).String(), s.published.Load(), s.acted[guesser] + s.acted[scanner] + s.acted[changer],
		s.unsure[guesser] + s.unsure[scanner] + s.unsure[changer], s.checks.Load(), s.unblocked.Load(), judged, found, s.problems,
	}
	if len(s.problems) > 0 {
		result.Verdict = "bad"
		s.t.Errorf("seed %d: %s\n(and %d more)", s.seed, strings.Join(s.problems, "\n"), s.more)
	}
	if *asJSON {
		raw, _ := json.Marshal(result) // strings and numbers
		fmt.Fprintf(os.Stdout, "%s\n", raw)
		return
	}
	fmt.Fprintf(os.Stdout, "soak: %s: %d events, %d attacks (%d uncertain), %d checks, %d unblocks in %s\n", result.Verdict,
		result.Published, result.Attacks, result.Unsure, result.Checks, result.Unblocks, result.Duration)
	if !judged {
		fmt.Fprintf(os.Stdout, "soak: growth is not judged: that takes %s and %d samples\n", settled, fewest)
	}
	for _, one := range found {
		fmt.Fprintf(os.Stdout, "soak: %-40s third quarter %12.6g, last %12.6g, at most %12.6g\n", one.Name, one.Third, one.Last, one.Most)
	}
}

func TestGrowthIsDetected(t *testing.T) {
	t.Parallel()
	of := func(value func(i int) float64) *series {
		s := &series{relative: .05, absolute: 2}
		for i := range 60 {
			s.values = append(s.values, value(i))
		}
		return s
	}
	for name, tt := range map[string]struct {
		value func(i int) float64
		want  bool
	}{
		"flat":                       {func(int) float64 { return 100 }, false},
		"saws":                       {func(i int) float64 { return 100 + float64(i%7)*10 }, false},
		"rises at first only":        {func(i int) float64 { return 100 + float64(min(i, 25))*10 }, false},
		"falls":                      {func(i int) float64 { return 1000 - float64(i) }, false},
		"an outlier in the end":      {func(i int) float64 { return 100 + float64(i/59)*1000 }, false},
		"rises":                      {func(i int) float64 { return 100 + float64(i) }, true},
		"saws and rises":             {func(i int) float64 { return 100 + float64(i%7)*10 + 2*float64(i) }, true},
		"a step in the last quarter": {func(i int) float64 { return 100 + float64(i/48)*50 }, true},
	} {
		if got := of(tt.value).grows(); got != tt.want {
			t.Errorf("%s: grows: %t, want %t", name, got, tt.want)
		}
	}
}
