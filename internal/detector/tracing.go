package detector

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxLinks bounds the links of one batch's span.
const maxLinks = 128

// tracing makes one span per batch. Its zero value makes none and costs nothing.
type tracing struct {
	tracer trace.Tracer
	group  string
}

// openTracing starts the export of traces, if the environment asks for it.
func (d *Detector) openTracing(ctx context.Context, o Options) error {
	t, stop, err := newTracing(ctx, o.Getenv, d.cfg.Stream.Group, o.Version)
	if err != nil {
		return err
	}
	d.tracing = t
	d.cleanups.add("trace exporter", stop)
	return nil
}

// newTracing exports by OTLP as the standard OTEL_* variables say, and not at
// all unless an endpoint is set. The returned function flushes and stops it.
func newTracing(ctx context.Context, getenv func(string) string, group, version string) (tracing, func(context.Context) error, error) {
	nothing := func(context.Context) error { return nil }
	set := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	if !set || getenv("OTEL_SDK_DISABLED") == "true" || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return tracing{}, nothing, nil
	}
	exporter, err := newExporter(ctx, getenv)
	if err != nil {
		return tracing{}, nothing, fmt.Errorf("start trace exporter: %w", err)
	}
	res, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "wardstream-detector"), attribute.String("service.version", version),
	), resource.WithFromEnv(), resource.WithHost())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return tracing{}, nothing, fmt.Errorf("describe trace resource: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res))
	return tracing{provider.Tracer("wardstream"), group}, provider.Shutdown, nil
}

func newExporter(ctx context.Context, getenv func(string) string) (*otlptrace.Exporter, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol == "grpc" {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// start begins the batch's span, linked to the producers' sampled contexts.
func (t tracing) start(ctx context.Context, b *batch) (context.Context, func()) {
	if t.tracer == nil || len(b.entries) == 0 {
		return ctx, func() {}
	}
	stream := b.entries[0].Stream
	ctx, span := t.tracer.Start(ctx, "process "+stream,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(b.links()...),
		trace.WithAttributes(
			attribute.String("messaging.system", "redis"),
			attribute.String("messaging.operation.name", "process"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", stream),
			attribute.String("messaging.consumer.group.name", t.group),
			attribute.Int("messaging.batch.message_count", len(b.entries)),
		))
	return ctx, func() {
		span.SetAttributes(attribute.Int("wardstream.matches", len(b.matches)), attribute.Int("wardstream.blocks", len(b.blocks)))
		span.End()
	}
}

func (b *batch) links() []trace.Link {
	var links []trace.Link
	for i := range b.events {
		parent := b.events[i].TraceParent
		if parent == "" {
			continue
		}
		carrier := propagation.MapCarrier{"traceparent": parent}
		sc := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
		if !sc.IsSampled() {
			continue
		}
		if links = append(links, trace.Link{SpanContext: sc}); len(links) == maxLinks {
			break
		}
	}
	return links
}

// environment reads the process's environment.
func environment(name string) string { return os.Getenv(name) }
