// Package promcheck counts the decisions of a [checker.Checker] for Prometheus:
//
//   - wardstream_checker_decisions_total by result: allowed, blocked, or failed and decided by the fail mode
//     (failed_open, failed_closed)
//   - wardstream_checker_errors_total by type, the class of error
//   - wardstream_checker_check_duration_seconds, a histogram
//
// No label holds a value that a client can choose.
package promcheck

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wardstream/wardstream/pkg/checker"
)

// Register registers the metrics with r and returns the checker option that updates them. Several
// checkers may share the option. To distinguish checkers, wrap r with
// prometheus.WrapRegistererWith.
func Register(r prometheus.Registerer) (checker.Option, error) {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wardstream_checker_decisions_total",
		Help: "Checks by result: allowed, blocked, or failed and decided by the fail mode (failed_open, failed_closed).",
	}, []string{"result"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wardstream_checker_errors_total",
		Help: "Checks that failed, by kind of error.",
	}, []string{"type"})
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "wardstream_checker_check_duration_seconds",
		Help:    "Time a check took, the look-up included.",
		Buckets: []float64{1e-7, 1e-6, 1e-5, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25},
	})
	for _, c := range []prometheus.Collector{decisions, failures, duration} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the checker: %w", err)
		}
	}
	results := map[string]prometheus.Counter{}
	for _, result := range []string{checker.ResultAllowed, checker.ResultBlocked, checker.ResultFailedOpen, checker.ResultFailedClosed} {
		results[result] = decisions.WithLabelValues(result)
	}
	return checker.WithOnDecision(func(_ context.Context, _ checker.Subject, d checker.Decision, took time.Duration) {
		duration.Observe(took.Seconds())
		results[d.Result()].Inc()
		if d.Err != nil {
			failures.WithLabelValues(checker.ErrorClass(d.Err)).Inc()
		}
	}), nil
}
