package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wardstream/wardstream/pkg/checker"
)

// Bounds of a connection. A proxy passes its client's headers on, so they may
// be as large as the large ones allow (Envoy 60 KiB, nginx 33 KiB).
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
)

// A Server is a running ingress-check. Make one with [New].
type Server struct {
	log       *slog.Logger
	store     *store
	feed      *feed
	metrics   *metrics
	grace     time.Duration
	draining  atomic.Bool
	listeners []net.Listener
	servers   []*http.Server
}

// New connects to the store, tells log about it and listens. Call [Server.Run]
// next, or [Server.Close]. A store that is down is no error, since the fail mode
// is made for that; one that refuses our credentials is.
func New(ctx context.Context, o Options, log *slog.Logger) (*Server, error) {
	if err := o.checkServe(); err != nil {
		return nil, err
	}
	s := &Server{log: log, grace: o.Grace, metrics: newMetrics()}
	if err := s.start(ctx, &o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o *Options) error {
	proxies, err := checker.ParseTrustedProxies(o.TrustedProxies, o.TrustedProxyCount)
	if err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	opts, err := o.checkerOptions()
	if err != nil {
		return err
	}
	if s.store, err = openStore(ctx, o); err != nil {
		return err
	}
	if s.feed, err = openFeed(o, s.log, s.metrics); err != nil {
		return err
	}
	if err := s.listen(o, s.forwardAuth(o, proxies, opts)); err != nil {
		return err
	}
	s.warn(proxies)
	return s.store.probe(ctx, func(name string, err error) {
		s.log.Warn("store can't answer; the fail mode decides until it does", "store", name, "error", err)
	})
}

// warn tells of configuration that is legal and probably not meant.
func (s *Server) warn(proxies checker.TrustedProxies) {
	for _, p := range proxies.Prefixes {
		if p.Bits() == 0 {
			s.log.Warn("every address is a trusted proxy: anybody can claim to be anybody", "trusted_proxies", p.String())
		}
	}
}

func (s *Server) forwardAuth(o *Options, proxies checker.TrustedProxies, opts []checker.Option) *forwardAuth {
	opts = append(opts, s.feed.reporter.Option())
	distrust := &limiter{every: time.Minute}
	return &forwardAuth{
		checker: checker.New(s.store.lookup, opts...), proxies: proxies, identities: o.identities(),
		endpoints: endpoints(), seen: s.metrics.decided, now: time.Now, requests: s.feed.requests,
		odd: func(r *http.Request, trusted, clientIsProxy bool) {
			if clientIsProxy {
				s.metrics.proxies.Inc()
			}
			if trusted || r.Header["X-Forwarded-For"] == nil {
				return
			}
			s.metrics.distrust.Inc()
			if left, ok := distrust.pass(time.Now()); ok {
				s.log.Warn("X-Forwarded-For from a peer that is not in trusted_proxies is ignored", "peer", r.RemoteAddr, "left_out", left)
			}
		},
	}
}

// listen opens the listeners and gives each its handler.
func (s *Server) listen(o *Options, forward http.Handler) error {
	ops := s.operations()
	if o.HTTPAddr != "" {
		if err := s.add(o.HTTPAddr, ops, "--http-addr"); err != nil {
			return err
		}
		return s.add(o.Addr, forward, "--addr")
	}
	return s.add(o.Addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := ops[r.URL.Path]; ok {
			h(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}), "--addr")
}

func (s *Server) add(addr string, h http.Handler, flag string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	s.listeners = append(s.listeners, l)
	s.servers = append(s.servers, &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	})
	return nil
}

// operations are health and metrics, by path. A store outage makes ingress-check
// neither unhealthy nor unready: without it the proxies would deny everyone.
type operations map[string]http.HandlerFunc

func (o operations) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := o[r.URL.Path]; ok {
		h(w, r)
		return
	}
	http.NotFound(w, r)
}

func (s *Server) operations() operations {
	return operations{
		"/healthz": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") },
		"/readyz": func(w http.ResponseWriter, _ *http.Request) {
			if s.draining.Load() {
				http.Error(w, "stopping", http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, "ready\n")
		},
		"/metrics": promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP,
	}
}

// Addr returns the address that proxies ask, with the port that a :0 came to.
func (s *Server) Addr() string { return s.listeners[len(s.listeners)-1].Addr().String() }

// HTTPAddr returns the address of health and metrics, which may be the same.
func (s *Server) HTTPAddr() string { return s.listeners[0].Addr().String() }

// Run answers requests until ctx ends, then finishes those under way within the
// grace period, and closes the server. It returns nil if that is how it ended.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	ended := make(chan error, len(s.servers))
	for i, server := range s.servers {
		go func() { ended <- server.Serve(s.listeners[i]) }()
	}
	s.log.Info("listening", "addr", s.Addr(), "http_addr", s.HTTPAddr())
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("stopping")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	var errs []error
	for i := len(s.servers) - 1; i >= 0; i-- {
		errs = append(errs, s.servers[i].Shutdown(grace))
	}
	s.feed.drain(grace, s.log)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// Close stops at once and closes the store. It may be called more than once.
func (s *Server) Close() {
	for _, server := range s.servers {
		_ = server.Close()
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
	if s.feed != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.feed.close(ended) // Run has given it its time
	}
	if s.store != nil {
		s.store.Close()
	}
}
