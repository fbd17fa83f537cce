package detector

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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sourcegraph/conc"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/redisconn"
	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/rediswindow"
	"github.com/wardstream/wardstream/internal/wire"
)

// Options are what a Detector is given besides its configuration.
type Options struct {
	// Stdout receives enforcement events, if the configuration says so.
	Stdout io.Writer
	Logger *slog.Logger
	// Getenv reads the OTEL_* variables; nil means the environment.
	Getenv  func(string) string
	Version string
	// Embedded says that Redis is in-process: what only a real server has is not asked for.
	Embedded bool
	// Durable keeps permanent blocks where the configuration names no Postgres; nil leaves them to Redis.
	Durable tiered.Durable
}

// A Detector is one worker. It is made by [New] and runs once.
type Detector struct {
	cfg        *config.Config
	log        *slog.Logger
	now        func() time.Time
	stores     *Stores
	watch      *redisconn.Watch // of the Redis server; nil: Cluster, Sentinel or in-process
	lease      *consumer.Lease  // nil: nobody else can have the name
	consumer   *consumer.Consumer
	reconciler *tiered.Reconciler
	uncounted  *uncounted
	sinks      configuredSinks
	fanout     *sinks.Fanout
	server     *http.Server
	listener   net.Listener
	stopTraces func(context.Context) error
	stopping   atomic.Bool
}

// New connects to the stores, looks at whether they will do and makes
// everything ready to run. An error is one line that says what to do; nothing is left open then.
func New(ctx context.Context, cfg *config.Config, o Options) (*Detector, error) {
	if o.Getenv == nil {
		o.Getenv = environment
	}
	d := &Detector{cfg: cfg, log: o.Logger, now: time.Now}
	if err := d.build(ctx, o); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *Detector) build(ctx context.Context, o Options) (err error) {
	if d.stores, err = openStores(ctx, d.cfg, o.Durable); err != nil {
		return err
	}
	if !o.Embedded {
		if err := d.stores.Check(ctx); err != nil {
			return err
		}
	}
	if !o.Embedded {
		if err := d.nameConsumer(ctx); err != nil {
			return err
		}
		d.watch = redisconn.NewWatch(d.stores.Clients.Ops, d.log)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	trips := newRoundTrips(registry)
	d.stores.Clients.Read.AddHook(trips)
	d.stores.Clients.Ops.AddHook(trips)
	if err := d.openFanout(ctx, o, registry); err != nil {
		return err
	}
	traces, stop, err := newTracing(ctx, o.Getenv, d.cfg.Stream.Group, o.Version)
	if err != nil {
		return err
	}
	d.stopTraces = stop
	metrics := newPipelineMetrics(registry)
	d.uncounted = newUncounted(registry, d.log, d.now)
	windowMetrics, err := rediswindow.NewMetrics(registry)
	if err != nil {
		return err
	}
	windows := rediswindow.NewRareTags(rediswindow.New(d.stores.Clients.Ops, d.cfg.KeyPrefix, windowMetrics),
		d.stores.Clients.Ops, d.cfg.KeyPrefix, d.now)
	if d.consumer, err = consumer.New(d.consumerOptions(registry, metrics), d.newPipeline(traces, metrics, newEventWarnings(d.log, d.now, registry), windows)); err != nil {
		return err
	}
	d.reconciler = tiered.NewReconciler(d.stores.Blocks, tiered.ReconcilerOptions{Registerer: registry, Logger: d.log})
	if d.cfg.HTTP.Addr == "" {
		return nil
	}
	d.server = newHTTPServer(registry, d)
	d.listener, err = d.listen(ctx)
	return err
}

func (d *Detector) newPipeline(t tracing, m *pipelineMetrics, w *eventWarnings, windows window.Store) *Pipeline {
	return &Pipeline{
		decoder: wire.NewDecoder(d.cfg.Decoder), rules: d.cfg.RuleSet, policy: d.cfg.Policy, shedder: newShedder(&d.cfg.Stream, d.stores.Clients.Ops),
		clock:     redisClock{d.stores.Clients.Ops},
		windows:   windows,
		cooldowns: cooldown.New(d.stores.Clients.Ops, d.cfg.KeyPrefix, d.now),
		blocks:    d.stores.Blocks, sinks: d.fanout, now: d.now, metrics: m, warnings: w, uncounted: d.uncounted, tracing: t,
	}
}

func (d *Detector) consumerOptions(reg prometheus.Registerer, m *pipelineMetrics) consumer.Options {
	s := d.cfg.Stream
	return consumer.Options{
		Clients: d.stores.Clients, Streams: s.Names, Group: s.Group, Consumer: d.consumerName(), Prefix: d.cfg.KeyPrefix,
		Loops: s.Loops, BatchSize: s.BatchSize, Block: s.Block, ClaimMinIdle: s.ClaimMinIdle, MaxDeliveries: s.MaxDeliveries,
		Retention: s.Retention, MaxLag: s.MaxLag, Shed: shedInRedis(&s, m), DeadMaxLen: int64(s.DeadMaxLen), Grace: d.cfg.Shutdown.Grace,
		Logger: d.log, Registerer: reg, Now: d.now,
	}
}

// Run works until ctx ends, then stops in order: no new reads, the batch in
// hand finished and acked, events passed on, everything closed. When kill ends it stops at once.
// The error says what was left undone; it will be delivered again.
func (d *Detector) Run(ctx, kill context.Context) error {
	defer d.close()
	defer context.AfterFunc(kill, d.consumer.Kill)()
	var side conc.WaitGroup
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	side.Go(func() { d.reconciler.Run(background) })
	if d.lease != nil {
		side.Go(func() { d.lease.Keep(background) })
	}
	side.Go(func() { d.watch.Run(background) })
	side.Go(func() { publishSettings(background, d.cfg, d.stores.Clients.Ops, d.log) })
	side.Go(func() { d.stores.warnContradictions(background, d.log) })
	side.Go(func() {
		d.uncounted.run(background, d.stores.Clients.Ops, wire.Keys{Prefix: d.cfg.KeyPrefix}.Uncounted(d.cfg.Stream.Consumer))
	})
	failed := make(chan error, 1)
	if d.server != nil {
		side.Go(func() {
			if err := serve(d.server, d.listener); err != nil {
				failed <- err
			}
		})
	}
	defer context.AfterFunc(ctx, func() { d.stopping.Store(true) })()
	err := d.consumer.Run(ctx)
	cancel()
	err = errors.Join(err, d.stop(kill))
	side.Wait()
	select {
	case httpErr := <-failed:
		return errors.Join(err, httpErr)
	default:
		return err
	}
}

// stopTimeout bounds what is done after the last batch.
const stopTimeout = 5 * time.Second

func (d *Detector) stop(kill context.Context) error {
	ctx, cancel := context.WithTimeout(kill, stopTimeout)
	defer cancel()
	errs := []error{d.fanout.Close(ctx), d.sinks.close(ctx), d.stopTraces(ctx)}
	if d.server != nil {
		errs = append(errs, d.server.Shutdown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// close closes what is open, at whatever point of making it.
func (d *Detector) close() {
	if d.listener != nil {
		_ = d.listener.Close()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if d.fanout != nil {
		_ = d.fanout.Close(ended)
	}
	_ = d.sinks.close(ended)
	if d.stores != nil {
		if d.lease != nil {
			d.lease.Release(context.Background()) // again, at no cost, after a run
		}
		d.stores.Close()
	}
}

// Addr is where metrics and health are served; "" is nowhere.
func (d *Detector) Addr() string {
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// stuckAfter is how long a loop may go without beginning a step before the
// worker counts as dead. A batch in hand may take the grace period.
const stuckAfter = 2 * time.Minute

var (
	errStuck    = errors.New("a loop makes no progress")
	errNotYet   = errors.New("not all streams have been joined")
	errStopping = errors.New("stopping")
	errReplica  = errors.New("Redis is a replica, which takes no writes; let redis.url lead to the primary")
)

// Alive implements health.
func (d *Detector) Alive() error {
	for _, h := range d.consumer.Health() {
		if !h.Progress.IsZero() && d.now().Sub(h.Progress) > stuckAfter {
			return fmt.Errorf("%s: %w", h.Stream, errStuck)
		}
	}
	return nil
}

// Ready implements health.
func (d *Detector) Ready() error {
	if d.stopping.Load() {
		return errStopping
	}
	if server, ok := d.watch.Server(); ok && server.Replica {
		return errReplica
	}
	for _, h := range d.consumer.Health() {
		if !h.Joined {
			return fmt.Errorf("%s: %w", h.Stream, errNotYet)
		}
	}
	return nil
}
