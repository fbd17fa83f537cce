package sinks_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// An otlpServer is an OTLP receiver over HTTP and gRPC. It answers HTTP with the
// statuses in turn, then with what answer holds.
type otlpServer struct {
	collogs.UnimplementedLogsServiceServer
	mu       sync.Mutex
	statuses []int
	answer   *collogs.ExportLogsServiceResponse
	paths    []string
	header   http.Header
	got      []*collogs.ExportLogsServiceRequest
}

func (s *otlpServer) Export(_ context.Context, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r)
	return &collogs.ExportLogsServiceResponse{}, nil
}

func (s *otlpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths, s.header = append(s.paths, r.Method+" "+r.URL.Path), r.Header
	if len(s.statuses) > 0 {
		status := s.statuses[0]
		s.statuses = s.statuses[1:]
		http.Error(w, strings.Repeat("no ", 10_000), status)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, _ := gzip.NewReader(bytes.NewReader(body))
		body, _ = io.ReadAll(z)
	}
	var request collogs.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.got = append(s.got, &request)
	w.Header().Set("Content-Type", "application/x-protobuf")
	reply, _ := proto.Marshal(s.answer)
	_, _ = w.Write(reply)
}

// ids are the enforcement.ids of the records so far.
func (s *otlpServer) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, request := range s.got {
		for _, r := range request.ResourceLogs[0].ScopeLogs[0].LogRecords {
			out = append(out, fmt.Sprint(attributes(r.Attributes)["enforcement.id"]))
		}
	}
	return out
}

func attributes(list []*common.KeyValue) map[string]any {
	out := map[string]any{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.Key] = v.IntValue
		case *common.AnyValue_BoolValue:
			out[kv.Key] = v.BoolValue
		}
	}
	return out
}

// otlp is a sink that the environment points at the server.
func otlp(t *testing.T, server *otlpServer, protocol string) *sinks.OTLP {
	t.Helper()
	var endpoint string
	if protocol == "grpc" {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g := grpc.NewServer()
		collogs.RegisterLogsServiceServer(g, server)
		go func() { _ = g.Serve(l) }()
		t.Cleanup(g.Stop)
		endpoint = "http://" + l.Addr().String()
	} else {
		h := httptest.NewServer(server)
		t.Cleanup(h.Close)
		endpoint = h.URL
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
	getenv := map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
	sink, err := sinks.NewOTLP(t.Context(), func(name string) string { return getenv[name] },
		wire.Origin{Resource: map[string]string{"service.name": "guard", "deployment.environment.name": "test"}, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close(context.Background()) })
	return sink
}

// full is an event with every attribute.
func full() wire.Enforcement {
	at := time.Date(2026, 1, 1, 0, 0, 0, 250_000_000, time.UTC)
	return wire.Enforcement{
		Type: wire.TypeEvaluationFailed, ID: "0123", Time: at, Observed: at.Add(time.Second), Scope: checker.Scope{Type: "ip", Value: "203.0.113.9"},
		Rule: "r", Severity: 8, Description: "d", Action: wire.ActionTemp, TTL: 300, ExpiresAt: at.Add(5 * time.Minute), DryRun: true,
		RevokedBy: "ops", Reason: "because", FailMode: "open", ErrorType: "timeout", StatusCode: 429,
		SourceAddress: "203.0.113.9", SessionID: "s", UserID: "42", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// TestOTLPRecords decodes what a receiver gets, by either protocol: the event as the JSON has it.
func TestOTLPRecords(t *testing.T) { //nolint:paralleltest // sets the environment, which the exporters read
	for _, protocol := range []string{"http/protobuf", "grpc", ""} {
		t.Run(protocol, func(t *testing.T) { //nolint:paralleltest // see above
			server := &otlpServer{}
			if err := otlp(t, server, protocol).Emit(t.Context(), append(alerts("x", 1), full())); err != nil {
				t.Fatal(err)
			}
			if len(server.got) != 1 || len(server.got[0].ResourceLogs) != 1 || len(server.got[0].ResourceLogs[0].ScopeLogs) != 1 {
				t.Fatalf("got %v", server.got)
			}
			if protocol != "grpc" && (server.paths[0] != "POST /v1/logs" || server.header.Get("X-Token") != "abc") {
				t.Errorf("asked %s with %v", server.paths[0], server.header)
			}
			resource := server.got[0].ResourceLogs[0]
			if got := attributes(resource.Resource.Attributes); len(got) != 2 || got["service.name"] != "guard" || got["deployment.environment.name"] != "test" {
				t.Errorf("resource %v", got)
			}
			scope := resource.ScopeLogs[0]
			if scope.Scope.Name != "wardstream" || scope.Scope.Version != "1.2.3" || len(scope.LogRecords) != 2 {
				t.Fatalf("scope %v, %d records", scope.Scope, len(scope.LogRecords))
			}
			if first := scope.LogRecords[0]; first.EventName != wire.TypeAlert || first.SeverityNumber != logs.SeverityNumber_SEVERITY_NUMBER_WARN || first.TraceId != nil {
				t.Errorf("first is %v", first)
			}
			checkFull(t, scope.LogRecords[1])
		})
	}
}

func checkFull(t *testing.T, r *logs.LogRecord) {
	t.Helper()
	if r.TimeUnixNano != 1767225600250000000 || r.ObservedTimeUnixNano != 1767225601250000000 || r.SeverityNumber != 17 || r.SeverityText != "ERROR" ||
		r.EventName != wire.TypeEvaluationFailed || r.Body.GetStringValue() != r.EventName {
		t.Errorf("record %v", r)
	}
	if fmt.Sprintf("%x %x %d", r.TraceId, r.SpanId, r.Flags) != "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 1" {
		t.Errorf("trace %x %x %d", r.TraceId, r.SpanId, r.Flags)
	}
	want := map[string]any{
		"event_type": wire.TypeEvaluationFailed, "schema_version": "1.0", "enforcement.id": "0123", "scope.type": "ip", "scope.value": "203.0.113.9",
		"security_rule.name": "r", "security_rule.severity": int64(8), "security_rule.description": "d", "enforcement.action": "temp",
		"enforcement.ttl": int64(300), "enforcement.expires_at": "2026-01-01T00:05:00.250000+00:00", "enforcement.dry_run": true,
		"enforcement.revoked_by": "ops", "enforcement.reason": "because", "enforcement.fail_mode": "open", "error.type": "timeout",
		"http.response.status_code": int64(429), "source.address": "203.0.113.9", "session.id": "s", "user.id": "42",
	}
	got := attributes(r.Attributes)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d attributes, want %d", len(got), len(want))
	}
}

// TestOTLPFailures: what is refused comes again, what is taken in part doesn't, and a warning is
// not a failure.
func TestOTLPFailures(t *testing.T) { //nolint:paralleltest // sets the environment, which the exporters read
	rejected := func(n int64) *collogs.ExportLogsServiceResponse {
		return &collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: n, ErrorMessage: "too old"}}
	}
	for name, tt := range map[string]struct {
		server *otlpServer
		fails  bool
		final  bool
	}{
		"taken":         {server: &otlpServer{}},
		"warning":       {server: &otlpServer{answer: rejected(0)}},
		"partly":        {server: &otlpServer{answer: rejected(1)}, fails: true, final: true},
		"not permitted": {server: &otlpServer{statuses: []int{http.StatusUnauthorized}}, fails: true},
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // see above
			err := otlp(t, tt.server, "").Emit(t.Context(), alerts("x", 2))
			var f sinks.Failure
			if errors.As(err, &f) != tt.fails || f.Final != tt.final || err != nil && len(err.Error()) > 600 {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestOTLPInFanoutRetriesInOrder: batches that fail come again, in order.
func TestOTLPInFanoutRetriesInOrder(t *testing.T) { //nolint:paralleltest // sets the environment, which the exporters read
	server := &otlpServer{statuses: []int{http.StatusUnauthorized, http.StatusInternalServerError}}
	f := fanout(t, sinks.Options{}, sinks.Named{Name: "otlp", Sink: otlp(t, server, ""), Detached: true, Batch: 4})
	batch := alerts("x", 10)
	f.emit(t, batch)
	testenv.Eventually(t, patience, func() error {
		got := server.ids()
		for i := range batch {
			if len(got) != len(batch) || got[i] != batch[i].ID {
				return fmt.Errorf("got %q", got)
			}
		}
		return nil
	})
	if len(server.got) != 3 {
		t.Errorf("%d requests were taken, want 4, 4 and 2 events", len(server.got))
	}
}
