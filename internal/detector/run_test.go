package detector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/testenv"
)

// runConfig is the configuration of a detector that serves metrics at a free port.
func runConfig(t *testing.T, env *testenv.RedisEnv) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(`
redis: {url: "`+env.URL+`"}
key_prefix: "`+env.Prefix+`"
stream: {names: ["`+env.Prefix+`:events"]}
events: {stdout: false, stream: ""}
http: {addr: "127.0.0.1:0"}
`), config.Options{Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestNewErrorClosesWhatWasOpened: the trace exporter and the sinks' queues
// run in goroutines of their own, which end.
func TestNewErrorClosesWhatWasOpened(t *testing.T) { //nolint:paralleltest // looks at all goroutines
	env := testenv.Redis(t)
	cfg := runConfig(t, env)
	cfg.Events.Stream = env.Prefix + ":published"
	cfg.Stream.Names = nil // which the consumer refuses, that is made last
	d, err := New(t.Context(), cfg, Options{
		Logger: slog.New(slog.DiscardHandler),
		Getenv: func(name string) string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}[name]
		},
	})
	if err == nil || d != nil {
		t.Fatalf("a consumer without a stream: %v", err)
	}
	testenv.Eventually(t, time.Minute, func() error {
		stacks := make([]byte, 1<<20)
		for _, stack := range bytes.Split(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
			if bytes.Contains(stack, []byte("/otel/sdk/")) || bytes.Contains(stack, []byte("/internal/sinks.")) {
				return fmt.Errorf("still running:\n%s", stack)
			}
		}
		return nil
	})
}

// TestHTTPServerFailureEndsWorker: a worker whose metrics and health cannot be served any
// more says so at once and ends with an error, in good order.
func TestHTTPServerFailureEndsWorker(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	var log bytes.Buffer
	d, err := New(t.Context(), runConfig(t, env), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(t.Context(), context.Background()) }()
	url := "http://" + d.Addr()
	testenv.Eventually(t, time.Minute, func() error {
		res, err := http.Get(url + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
	if err := d.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrServer) {
		t.Errorf("the worker ended with %v, want %v", err, ErrServer)
	}
	if !strings.Contains(log.String(), "HTTP server of metrics and health failed; the worker stops") {
		t.Errorf("the log does not say why:\n%s", &log)
	}
	if n := env.Client.Exists(t.Context(), env.Prefix+":events").Val(); n != 1 {
		t.Error("the worker had not joined its stream")
	}
}
