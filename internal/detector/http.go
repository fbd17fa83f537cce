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
	// Alive returns an error if the worker makes no progress. It never depends on
	// Redis or Postgres: an outage is no reason to restart.
	Alive() error
	// Ready returns an error unless the worker has joined its group, has a Redis that
	// takes writes, and is not stopping.
	Ready() error
}

// newHTTPServer returns a server of /metrics, /healthz and /readyz. Everything a client
// may send is bounded.
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

// routes are all the routes of the server. None changes anything.
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

// listen binds http.addr. If that is the default, and another worker on this host uses
// it, any free port will do, and the log says which.
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

// ErrServer is in the chain of the error with which a worker ends whose HTTP server failed.
var ErrServer = errors.New("the HTTP server of metrics and health failed")

// openServer binds http.addr, so that an address that is in use is known at the start,
// and serves nothing yet.
func (d *Detector) openServer(ctx context.Context, gatherer prometheus.Gatherer) error {
	if d.cfg.HTTP.Addr == "" {
		return nil
	}
	listener, err := d.listen(ctx)
	if err != nil {
		return err
	}
	d.listener, d.server = listener, newHTTPServer(gatherer, d)
	d.cleanups.add("HTTP server", func(ctx context.Context) error {
		err := d.server.Shutdown(ctx)
		_ = listener.Close() // which Shutdown does only while it is served
		d.serving.Wait()
		return err
	})
	return nil
}

// startServer serves until the clean-ups run. If serving fails the worker stops: a
// process without probes and metrics would be restarted without saying why.
func (d *Detector) startServer(fail context.CancelCauseFunc) {
	if d.server == nil {
		return
	}
	d.serving.Go(func() {
		if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("the HTTP server of metrics and health failed; the worker stops", "http_addr", d.Addr(), "error", err)
			fail(fmt.Errorf("%w: %w", ErrServer, err))
		}
	})
}
