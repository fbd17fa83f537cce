package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wardstream/wardstream/internal/lenienthttp"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Bounds of a connection. Those of a request are [lenienthttp]'s.
const (
	headerTimeout = 5 * time.Second
	answerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// A Server is a running ingress-check. Make one with [New].
type Server struct {
	log      *slog.Logger
	store    *store
	feed     *feed
	metrics  *metrics
	grace    time.Duration
	draining atomic.Bool
	lone     lonePeer
	services []service // health first: it is the last to go

	certificates []*certificates // of the listeners that have TLS

	addr, grpcAddr, httpAddr string
}

// A service is a listener and what answers on it.
type service struct {
	listener net.Listener
	server   listenerServer
}

// A listenerServer serves one listener: a [lenienthttp.Server], or a gRPC server behind an adapter.
type listenerServer interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// New connects to the store, logs that and listens. Call [Server.Run]
// next, or [Server.Close]. A store that is down is not an error, since the fail mode
// is made for that; one that refuses our credentials is.
func New(ctx context.Context, o Options, log *slog.Logger) (*Server, error) {
	if err := o.Validate(); err != nil {
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
	proxies.Header = textproto.CanonicalMIMEHeaderKey(o.ClientHeader)
	opts, err := o.checkerOptions()
	if err != nil {
		return err
	}
	if s.store, err = openStore(ctx, o, s.log); err != nil {
		return err
	}
	if s.store.mirror != nil {
		s.metrics.registry.MustRegister(mirrorMetrics(s.store.mirror)...)
	}
	if s.feed, err = openFeed(o, proxies, s.log, s.metrics); err != nil {
		return err
	}
	if err := s.listen(o, proxies, checker.New(s.store.lookup, append(append(opts, s.feed.reporter.Option()), s.store.exempt()...)...)); err != nil {
		return err
	}
	s.warn(proxies)
	return s.store.probe(ctx, func(name string, err error) {
		s.log.Warn("store can't answer; the fail mode decides until it does", "store", name, "error", err)
	})
}

// warn logs configuration that is legal and probably not meant.
func (s *Server) warn(proxies checker.TrustedProxies) {
	for _, p := range proxies.Prefixes {
		if p.Bits() == 0 {
			s.log.Warn("every address is a trusted proxy: every client can claim any address", "trusted_proxies", p.String())
		}
	}
}

// listen opens the listeners and gives each its handler.
func (s *Server) listen(o *Options, proxies checker.TrustedProxies, c *checker.Checker) error {
	g := &gate{
		checker: c, metrics: s.metrics, requests: s.feed.requests, log: s.log, distrust: &limiter{every: time.Minute}, lone: &s.lone,
		header: proxies.HeaderName(), now: time.Now,
	}
	who := func(addr string) clients {
		return clients{proxies: proxies, trustUnix: o.TrustUnix && isUnix(addr), identities: o.identities()}
	}
	ops := s.operations()
	var err error
	if o.HTTPAddr != "" {
		if s.httpAddr, err = s.add(o.HTTPAddr, "--http-addr", s.httpServer(ops, metricsHeaders()...), o, nil); err != nil {
			return err
		}
	}
	forward := &forwardAuth{gate: g, clients: who(o.Addr), denials: denials{reasons: o.ReasonHeaders}, endpoints: endpoints()}
	handler := http.Handler(forward)
	if o.HTTPAddr == "" {
		handler = besides(ops, forward)
	}
	if s.addr, err = s.add(o.Addr, "--addr", s.httpServer(handler, slices.Concat(forward.headers(), metricsHeaders())...), o, &proxied{forward.clients, "http/1.1"}); err != nil {
		return err
	}
	if o.HTTPAddr == "" {
		s.httpAddr = s.addr
	}
	if o.GRPCAddr == "" {
		return nil
	}
	authz := &extAuthz{gate: g, clients: who(o.GRPCAddr), reasons: o.ReasonHeaders, status: o.StatusCode}
	s.grpcAddr, err = s.add(o.GRPCAddr, "--grpc-addr", newGRPCServer(authz), o, &proxied{authz.clients, "h2"})
	return err
}

// besides answers what is among the operations there, and passes on the rest.
func besides(ops operations, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := ops[r.URL.Path]; ok {
			h(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// httpServer makes a server that never answers a request by itself: its clients' clients have a say
// in how requests look, and proxies make a refusal, or a way in, of an answer that no handler gave.
// headers are those that h reads.
func (s *Server) httpServer(h http.Handler, headers ...string) *lenienthttp.Server {
	return &lenienthttp.Server{
		Handler: h, Headers: headers, Log: s.log, HeadTimeout: headerTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
	}
}

// add opens a listener for a server, and returns its address. as is nil where operators, not
// proxies, ask.
func (s *Server) add(addr, flag string, server listenerServer, o *Options, as *proxied) (string, error) {
	l, err := listen(addr, o)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	open := l
	if as != nil {
		if l, err = s.wrap(l, o, as); err != nil {
			_ = open.Close()
			return "", err
		}
	}
	s.services = append(s.services, service{l, server})
	if isUnix(addr) {
		return addr, nil
	}
	return l.Addr().String(), nil
}

// metricsHeaders are those that the handler of metrics reads.
func metricsHeaders() []string { return []string{"Accept", "Accept-Encoding"} }

// operations are health and metrics, by path. A store outage makes ingress-check neither unhealthy
// nor unready: without it the proxies would deny everyone. Postgres must have answered once,
// however: until then it may be the URL that keeps it from doing so.
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
			if err := s.store.ready(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, "ready\n")
			if warning := s.lone.verdict(time.Now()); warning != "" {
				_, _ = io.WriteString(w, "warning: "+warning+"\n")
			}
			_, _ = io.WriteString(w, s.detail())
		},
		"/metrics": promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP,
	}
}

// detail is what /readyz says besides: what is wrong and no reason to send proxies elsewhere.
func (s *Server) detail() string {
	if s.store.settings == nil {
		return ""
	}
	var text string
	if conflict := s.store.settings.conflict.Load(); conflict != nil {
		text = "warning: " + *conflict + "\n"
	}
	if server, ok := s.store.watch.Server(); ok && server.Replica {
		text += "warning: Redis is a replica: blocks arrive here once it has them\n"
	}
	return text
}

// Addr returns the address that proxies ask, with the port that a :0 came to.
func (s *Server) Addr() string { return s.addr }

// GRPCAddr returns the address that Envoy asks over gRPC, or "".
func (s *Server) GRPCAddr() string { return s.grpcAddr }

// HTTPAddr returns the address of health and metrics, which may be that of [Server.Addr].
func (s *Server) HTTPAddr() string { return s.httpAddr }

// Run answers requests until ctx ends, then finishes those under way within the
// grace period, and closes the server. It returns nil if that is how it ended.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	ended := make(chan error, len(s.services)+1)
	defer s.runMirror(ctx, ended)()
	defer s.runBeside(ctx, func(ctx context.Context) { s.store.waitForAnswer(ctx, s.log) })()
	defer s.runBeside(ctx, s.store.watch.Run)()
	defer s.followSettings(ctx)()
	for _, each := range s.services {
		go func() { ended <- each.server.Serve(each.listener) }()
	}
	s.log.Info("listening", "addr", s.addr, "grpc_addr", s.grpcAddr, "http_addr", s.httpAddr)
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
	for _, each := range slices.Backward(s.services) {
		errs = append(errs, each.server.Shutdown(grace))
	}
	s.feed.drain(grace, s.log)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// Reload reads the certificates again, as SIGHUP asks for; those that can't be read leave the old
// ones in force. Options are not read again.
func (s *Server) Reload() {
	if len(s.certificates) == 0 {
		s.log.Info("SIGHUP is ignored: there are no certificates to read again, and options need a restart")
		return
	}
	for _, c := range s.certificates {
		c.reloadNow()
	}
}

// followSettings follows the detectors' settings until stop is called. The first answer is
// awaited, so that no client on their allowlist is denied at the start.
func (s *Server) followSettings(ctx context.Context) (stop func()) {
	if s.store.settings == nil {
		return func() {}
	}
	_ = s.store.settings.read(ctx) // follow asks again, and says what fails
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.store.settings.follow(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// Close stops at once and closes the store. It may be called more than once.
func (s *Server) Close() {
	for _, each := range s.services {
		_ = each.server.Close()
		_ = each.listener.Close()
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
