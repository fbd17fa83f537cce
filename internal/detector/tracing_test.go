package detector

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/wardstream/wardstream/internal/consumer"
)

func TestOneSpanPerBatchLinksToSampledProducers(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	spans := tracetest.NewSpanRecorder()
	b.tracing = tracing{sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test"), "detectors"}
	sampled, unsampled := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-00"
	b.must("DDD", b.entry("event_type", "x", "traceparent", sampled), b.entry("event_type", "x", "traceparent", unsampled), b.entry("event_type", "x"))
	ended := spans.Ended()
	if len(ended) != 1 || len(ended[0].Links()) != 1 || ended[0].Links()[0].SpanContext.SpanID().String() != "b7ad6b7169203331" {
		t.Fatalf("%d spans", len(ended))
	}
	if ended[0].Name() != "process s" || ended[0].Status().Code != codes.Unset {
		t.Errorf("span %q, %v", ended[0].Name(), ended[0].Status())
	}
}

func TestTracingIsOffUnlessSet(t *testing.T) { //nolint:paralleltest // counts allocations
	for name, env := range map[string]map[string]string{
		"nothing set": {}, "disabled": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
		"exporter none": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"},
	} {
		tr, stop, err := newTracing(t.Context(), func(n string) string { return env[n] }, "g", "v")
		if err != nil || tr.tracer != nil || stop(t.Context()) != nil {
			t.Errorf("%s: %v, %v", name, tr, err)
		}
	}
	b := &batch{}
	if n := testing.AllocsPerRun(100, func() { _, end := tracing{}.start(context.Background(), b); end() }); n > 0 {
		t.Errorf("tracing that is off allocates %v times a batch", n)
	}
}

// A spanServer is an OTLP receiver over gRPC.
type spanServer struct {
	coltrace.UnimplementedTraceServiceServer
	received chan string
}

func (s spanServer) Export(_ context.Context, r *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	s.received <- r.ResourceSpans[0].ScopeSpans[0].Spans[0].Name
	return &coltrace.ExportTraceServiceResponse{}, nil
}

// TestSpansReachACollector by either protocol, as the standard variables say.
func TestSpansReachACollector(t *testing.T) { //nolint:paralleltest // sets the environment, which the exporters read
	received := make(chan string, 10)
	overHTTP := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received <- r.Method + " " + r.URL.Path }))
	defer overHTTP.Close()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	overGRPC := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(overGRPC, spanServer{received: received})
	go func() { _ = overGRPC.Serve(l) }()
	defer overGRPC.Stop()
	for _, tt := range []struct{ endpoint, name, protocol, want string }{
		{overHTTP.URL, "OTEL_EXPORTER_OTLP_PROTOCOL", "", "POST /v1/traces"},
		{"http://" + l.Addr().String(), "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "process s"},
		{"http://" + l.Addr().String(), "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "process s"},
	} {
		t.Run(tt.name+tt.protocol, func(t *testing.T) { //nolint:paralleltest // see above
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", tt.endpoint)
			t.Setenv(tt.name, tt.protocol)
			tr, stop, err := newTracing(t.Context(), environment, "g", "v")
			if err != nil {
				t.Fatal(err)
			}
			_, end := tr.start(t.Context(), &batch{entries: []consumer.Entry{{Stream: "s"}}})
			end()
			if err := stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := <-received; got != tt.want {
				t.Errorf("the collector got %s, want %s", got, tt.want)
			}
		})
	}
}
