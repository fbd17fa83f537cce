package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/wardstream/wardstream/internal/wire"
)

// OTLP is a sink that sends events as OpenTelemetry log records, converted from their JSON.
type OTLP struct {
	exporter sdklog.Exporter
	provider *sdklog.LoggerProvider
	logger   log.Logger
	origin   wire.Origin
}

// NewOTLP returns a sink configured by the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT,
// _HEADERS, _PROTOCOL, … and their _LOGS_ forms); the default is HTTP to localhost. It does not
// open a connection. The exporter retries when the receiver asks it to. Close stops it.
func NewOTLP(ctx context.Context, getenv func(string) string, origin wire.Origin) (*OTLP, error) {
	exporter, err := newLogExporter(ctx, getenv)
	if err != nil {
		return nil, fmt.Errorf("start log exporter: %w", err)
	}
	var attrs []attribute.KeyValue
	for k, v := range origin.Attributes() {
		attrs = append(attrs, attribute.String(k, v))
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(resource.NewSchemaless(attrs...)), sdklog.WithProcessor(collect{}))
	return &OTLP{
		exporter: exporter, provider: provider, origin: origin,
		logger: provider.Logger("wardstream", log.WithInstrumentationVersion(origin.Version)),
	}, nil
}

func newLogExporter(ctx context.Context, getenv func(string) string) (sdklog.Exporter, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol == "grpc" {
		return otlploggrpc.New(ctx)
	}
	return otlploghttp.New(ctx)
}

// Close closes the exporter's connections.
func (s *OTLP) Close(ctx context.Context) error {
	return errors.Join(s.provider.Shutdown(ctx), s.exporter.Shutdown(ctx))
}

// collect is the SDK's way of a record: into the list that its context carries.
// The list is exported at once, so that a sink's caller knows what became of it.
type collect struct{}

type collected struct{}

func (collect) OnEmit(ctx context.Context, r *sdklog.Record) error {
	if list, ok := ctx.Value(collected{}).(*[]sdklog.Record); ok {
		*list = append(*list, r.Clone())
	}
	return nil
}

func (collect) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (collect) Shutdown(context.Context) error                         { return nil }
func (collect) ForceFlush(context.Context) error                       { return nil }

// Emit sends the events in one request.
func (s *OTLP) Emit(ctx context.Context, events []wire.Enforcement) error {
	var records []sdklog.Record
	collecting := context.WithValue(ctx, collected{}, &records)
	for i := range events {
		if err := s.record(collecting, events[i]); err != nil {
			return err
		}
	}
	return exportError(s.exporter.Export(ctx, records))
}

// maxError is the maximum length of a receiver's error message, in bytes.
const maxError = 512

// exportError shortens an exporter's error. A request that was accepted in part must not be retried
// (OpenTelemetry Protocol, "Partial Success"), and a warning is not an error. The exporters report
// both with an error type of their own.
func exportError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	partial := strings.Contains(text, "OTLP partial success")
	if partial && strings.Contains(text, "(0 logs rejected)") {
		return nil
	}
	return Failure{Final: partial, Err: fmt.Errorf("export log records: %w", errors.New(text[:min(len(text), maxError)]))}
}

// record passes one event to the SDK.
func (s *OTLP) record(ctx context.Context, e wire.Enforcement) error {
	line, err := wire.EncodeEnforcement(e, s.origin)
	if err != nil {
		return err
	}
	var j struct {
		Timestamp      int64          `json:"timestamp"`
		Observed       int64          `json:"observed_timestamp"`
		SeverityText   string         `json:"severity_text"`
		SeverityNumber int            `json:"severity_number"`
		Body           string         `json:"body"`
		EventName      string         `json:"event_name"`
		Attributes     map[string]any `json:"attributes"`
		TraceID        string         `json:"trace_id"`
		SpanID         string         `json:"span_id"`
		TraceFlags     byte           `json:"trace_flags"`
	}
	numbers := json.NewDecoder(bytes.NewReader(line))
	numbers.UseNumber()
	if err := numbers.Decode(&j); err != nil {
		return fmt.Errorf("read enforcement event: %w", err)
	}
	var r log.Record
	r.SetTimestamp(time.Unix(0, j.Timestamp))
	r.SetObservedTimestamp(time.Unix(0, j.Observed))
	r.SetSeverity(log.Severity(j.SeverityNumber))
	r.SetSeverityText(j.SeverityText)
	r.SetEventName(j.EventName)
	r.SetBody(attribute.StringValue(j.Body))
	for _, name := range slices.Sorted(maps.Keys(j.Attributes)) {
		r.AddAttributes(attributeOf(name, j.Attributes[name]))
	}
	s.logger.Emit(within(ctx, j.TraceID, j.SpanID, j.TraceFlags), r)
	return nil
}

// within is ctx with the span that the event came from, if it is known.
func within(ctx context.Context, traceID, spanID string, flags byte) context.Context {
	span, err := trace.SpanIDFromHex(spanID)
	if err != nil {
		return ctx
	}
	id, err := trace.TraceIDFromHex(traceID)
	if err != nil {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags), Remote: true,
	}))
}

func attributeOf(name string, value any) attribute.KeyValue {
	switch v := value.(type) {
	case bool:
		return attribute.Bool(name, v)
	case json.Number:
		n, _ := v.Int64() // all of them are whole
		return attribute.Int64(name, n)
	}
	return attribute.String(name, fmt.Sprint(value))
}
