package detector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health answers the probes.
type health interface {
	// Alive reports whether the worker makes progress. It never depends on
	// Redis or Postgres: an outage is no reason to restart.
	Alive() error
	// Ready reports whether the worker has joined its group and is not stopping.
	Ready() error
}

// newHTTPServer serves /metrics, /healthz and /readyz. Everything a client may
// send is bounded.
func newHTTPServer(gatherer prometheus.Gatherer, h health) *http.Server {
	mux := http.NewServeMux()
	for pattern, handler := range routes(gatherer, h) {
		mux.Handle(pattern, handler)
	}
	return &http.Server{
		Handler:           http.MaxBytesHandler(mux, 1<<10),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
	}
}

// routes are all there is. None changes anything.
func routes(gatherer prometheus.Gatherer, h health) map[string]http.Handler {
	return map[string]http.Handler{
		"GET /metrics": promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}),
		"GET /healthz": probe(h.Alive),
		"GET /readyz":  probe(h.Ready),
	}
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, err)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}

// listen binds addr, so that an address that can't be had is known at the start.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for http: %w", err)
	}
	return l, nil
}

// serve serves until the server is shut down.
func serve(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}
