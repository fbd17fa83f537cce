package detector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health answers the probes.
type health interface {
	// Alive reports whether the worker makes progress. It never depends on
	// Redis or Postgres: an outage is no reason to restart.
	Alive() error
	// Ready reports whether the worker has joined its group, has a Redis that takes writes, and is not stopping.
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

// listen binds http.addr, so that an address that is in use is known at the start. Where it is the default, and another
// worker of this host has it, any free port does, and the log says which.
func (d *Detector) listen(ctx context.Context) (net.Listener, error) {
	addr := d.cfg.HTTP.Addr
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case !errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("http.addr %s is not available: pass --http-addr to choose another: %w", addr, err)
	case d.cfg.IsSet("http.addr"):
		return nil, fmt.Errorf("http.addr %s is already in use: pass --http-addr to choose another", addr)
	}
	host, _, _ := net.SplitHostPort(addr) // it is the default
	if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0")); err != nil {
		return nil, fmt.Errorf("http.addr %s is already in use: pass --http-addr to choose another: %w", addr, err)
	}
	d.log.InfoContext(ctx, "the default http.addr is already in use; metrics and health are at another port", "default", addr, "http_addr", l.Addr().String())
	return l, nil
}

// serve serves until the server is shut down.
func serve(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}
