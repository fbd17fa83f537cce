// Package otelcheck records the decisions of a [checker.Checker] with OpenTelemetry.
//
// Instruments:
//
//   - wardstream.checker.decisions, a counter by wardstream.result: allowed, blocked, or failed and decided by the
//     fail mode (failed_open, failed_closed)
//   - wardstream.checker.errors, a counter by error.type, the class of error
//   - wardstream.checker.check.duration, a histogram in seconds
//
// A recording span in the request's context gets the attribute wardstream.result. A blocked request
// also adds the event audit.enforcement.blocked with the scope's type and the rule, and a failed
// check adds audit.enforcement.evaluation_failed with the error class and the fail mode. None of
// them holds an address, a user or a session.
package otelcheck

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/wardstream/wardstream/pkg/checker"
)

// New creates the instruments and returns the checker option that updates them. Several checkers
// may share the option. Spans are taken from the contexts of requests.
func New(provider metric.MeterProvider) (checker.Option, error) {
	meter := provider.Meter("github.com/wardstream/wardstream/pkg/checker/otelcheck")
	decisions, err := meter.Int64Counter("wardstream.checker.decisions", metric.WithUnit("{decision}"),
		metric.WithDescription("Checks by result."))
	if err != nil {
		return nil, fmt.Errorf("make instrument: %w", err)
	}
	failures, err := meter.Int64Counter("wardstream.checker.errors", metric.WithUnit("{error}"),
		metric.WithDescription("Checks that failed, by kind of error."))
	if err != nil {
		return nil, fmt.Errorf("make instrument: %w", err)
	}
	duration, err := meter.Float64Histogram("wardstream.checker.check.duration", metric.WithUnit("s"),
		metric.WithDescription("Time a check took, the look-up included."),
		metric.WithExplicitBucketBoundaries(1e-7, 1e-6, 1e-5, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25))
	if err != nil {
		return nil, fmt.Errorf("make instrument: %w", err)
	}
	results := map[string]metric.MeasurementOption{}
	for _, r := range []string{checker.ResultAllowed, checker.ResultBlocked, checker.ResultFailedOpen, checker.ResultFailedClosed} {
		results[r] = metric.WithAttributeSet(attribute.NewSet(attribute.String("wardstream.result", r)))
	}
	return checker.WithOnDecision(func(ctx context.Context, _ checker.Subject, d checker.Decision, took time.Duration) {
		duration.Record(ctx, took.Seconds())
		decisions.Add(ctx, 1, results[d.Result()])
		if d.Err != nil {
			failures.Add(ctx, 1, metric.WithAttributes(attribute.String("error.type", checker.ErrorClass(d.Err))))
		}
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			annotate(span, d)
		}
	}), nil
}

func annotate(span trace.Span, d checker.Decision) {
	span.SetAttributes(attribute.String("wardstream.result", d.Result()))
	if d.Err != nil {
		mode := "open"
		if d.FailClosed {
			mode = "closed"
		}
		span.AddEvent("audit.enforcement.evaluation_failed", trace.WithAttributes(
			attribute.String("error.type", checker.ErrorClass(d.Err)), attribute.String("enforcement.fail_mode", mode)))
	}
	if d.Result() == checker.ResultBlocked {
		span.AddEvent("audit.enforcement.blocked", trace.WithAttributes(
			attribute.String("scope.type", d.Block.Scope.Type), attribute.String("security_rule.name", d.Block.Rule),
			attribute.Int("http.response.status_code", d.StatusCode)))
	}
}
