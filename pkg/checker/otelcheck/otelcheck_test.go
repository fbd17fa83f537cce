package otelcheck_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/otelcheck"
)

// A lookup has user 42 blocked and fails for user "down".
type lookup struct{}

var errDown = errors.New("dial tcp 10.1.2.3:6379: no route to host")

func (lookup) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	switch scopes[0].Value {
	case "42":
		return []checker.Block{{Scope: scopes[0], Rule: "brute_force_login"}}, nil
	case "down":
		return nil, errDown
	}
	return nil, nil
}

func (lookup) HonoursDeadline() bool { return true }

func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	option, err := otelcheck.New(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	c := checker.New(lookup{}, option, checker.WithFailClosed(regexp.MustCompile("^/pay")))
	for _, s := range []checker.Subject{{User: "42"}, {User: "42"}, {User: "43"}, {User: "down", Path: "/x"}, {User: "down", Path: "/pay"}} {
		c.Check(t.Context(), s)
	}
	var collected metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &collected); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				got[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = float64(p.Value)
			}
		case metricdata.Histogram[float64]:
			got[m.Name+" "+m.Unit] = float64(data.DataPoints[0].Count)
		}
	}
	want := map[string]float64{
		"wardstream.checker.decisions wardstream.result=allowed": 1, "wardstream.checker.decisions wardstream.result=blocked": 2,
		"wardstream.checker.decisions wardstream.result=failed_open": 1, "wardstream.checker.decisions wardstream.result=failed_closed": 1,
		"wardstream.checker.errors error.type=unavailable": 2, "wardstream.checker.check.duration s": 5,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	option, err := otelcheck.New(sdkmetric.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	c := checker.New(lookup{}, option, checker.WithFailClosed(regexp.MustCompile("^/pay")))
	for _, s := range []checker.Subject{{User: "42"}, {User: "43"}, {User: "down", Path: "/x"}, {User: "down", Path: "/pay"}} {
		ctx, span := tracer.Start(t.Context(), "request")
		c.Check(ctx, s)
		span.End()
	}
	want := []string{
		"[wardstream.result=blocked] audit.enforcement.blocked[scope.type=user security_rule.name=brute_force_login http.response.status_code=429]",
		"[wardstream.result=allowed]",
		"[wardstream.result=failed_open] audit.enforcement.evaluation_failed[error.type=unavailable enforcement.fail_mode=open]",
		"[wardstream.result=failed_closed] audit.enforcement.evaluation_failed[error.type=unavailable enforcement.fail_mode=closed]",
	}
	for i, span := range recorder.Ended() {
		text := attributes(span.Attributes())
		for _, e := range span.Events() {
			text += " " + e.Name + attributes(e.Attributes)
		}
		if text != want[i] {
			t.Errorf("span %d says %s, want %s", i, text, want[i])
		}
	}
	if n := len(recorder.Ended()); n != len(want) {
		t.Errorf("%d spans", n)
	}
}

func attributes(list []attribute.KeyValue) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = fmt.Sprintf("%s=%s", a.Key, a.Value.String())
	}
	return "[" + strings.Join(texts, " ") + "]"
}
