package detector

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sourcegraph/conc"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/redisconn"
	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/streamclock"
	"github.com/wardstream/wardstream/internal/uncounted"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/rediswindow"
	"github.com/wardstream/wardstream/internal/wire"
)

// Options are what a Detector needs besides its configuration.
type Options struct {
	// Stdout receives enforcement events, if the configuration says so.
	Stdout io.Writer
	Logger *slog.Logger
	// Getenv reads the OTEL_* variables; nil means the environment.
	Getenv  func(string) string
	Version string
	// Embedded says that Redis runs in this process: what only a real server has is not asked for.
	Embedded bool
	// Durable keeps permanent blocks where the configuration names no Postgres; nil leaves them to
	// Redis.
	Durable store.Durable
}

// A Detector is one worker. It is made by [New] and runs once.
type Detector struct {
	cfg        *config.Config
	log        *slog.Logger
	now        func() time.Time
	registry   *prometheus.Registry
	stores     *backends.Stores
	watch      *redisconn.Watch // of the Redis server; nil: Cluster, Sentinel or in-process
	lease      *consumer.Lease  // nil: no other worker can have the name
	server     *http.Server     // nil: metrics and health are not served
	listener   net.Listener
	serving    conc.WaitGroup
	tracing    tracing
	fanout     *sinks.Fanout
	uncounted  *uncounted.Counter
	consumer   *consumer.Consumer
	reconciler *tiered.Reconciler
	stopping   atomic.Bool
	cleanups   cleanups
}

// New connects to the stores, checks them and prepares everything to run. An error is
// one line that says what to do; nothing is left open then.
func New(ctx context.Context, cfg *config.Config, o Options) (*Detector, error) {
	if o.Getenv == nil {
		o.Getenv = environment
	}
	d := &Detector{cfg: cfg, log: o.Logger, now: time.Now, registry: prometheus.NewRegistry()}
	if err := d.open(ctx, o); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = d.cleanups.run(stop) // the error to report is why it was not opened
		return nil, err
	}
	return d, nil
}

// open opens everything, in the reverse order of its closing.
func (d *Detector) open(ctx context.Context, o Options) error {
	d.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := d.openStores(ctx, o); err != nil {
		return err
	}
	if err := d.openServer(ctx, d.registry); err != nil {
		return err
	}
	if err := d.openTracing(ctx, o); err != nil {
		return err
	}
	if err := d.openSinks(ctx, o); err != nil {
		return err
	}
	return d.newConsumer()
}

// openStores opens Redis and Postgres and takes the consumer name.
func (d *Detector) openStores(ctx context.Context, o Options) (err error) {
	if d.stores, err = backends.OpenWithDurable(ctx, d.cfg, o.Durable); err != nil {
		return err
	}
	d.cleanups.add("stores", func(context.Context) error { d.stores.Close(); return nil })
	trips := newRoundTrips(d.registry)
	d.stores.Clients.Read.AddHook(trips)
	d.stores.Clients.Ops.AddHook(trips)
	if o.Embedded {
		return nil
	}
	if err := d.stores.Check(ctx); err != nil {
		return err
	}
	d.watch = redisconn.NewWatch(d.stores.Clients.Ops, d.log)
	return d.nameConsumer(ctx)
}

// newConsumer makes the pipeline and what runs it. It opens nothing.
func (d *Detector) newConsumer() error {
	windowMetrics, err := rediswindow.NewMetrics(d.registry)
	if err != nil {
		return err
	}
	metrics := newPipelineMetrics(d.registry)
	d.uncounted = uncounted.New(d.registry, d.log, d.now)
	windows := rediswindow.NewRareTags(rediswindow.New(d.stores.Clients.Ops, d.cfg.KeyPrefix, windowMetrics),
		d.stores.Clients.Ops, d.cfg.KeyPrefix, d.now)
	d.consumer, err = consumer.New(d.consumerOptions(metrics), d.newPipeline(metrics, windows))
	if err != nil {
		return err
	}
	d.reconciler = tiered.NewReconciler(d.stores.Blocks, tiered.ReconcilerOptions{Registerer: d.registry, Logger: d.log})
	return nil
}

func (d *Detector) newPipeline(m *pipelineMetrics, windows window.Store) *Pipeline {
	return &Pipeline{
		decoder: wire.NewDecoder(d.cfg.Decoder), rules: d.cfg.RuleSet, policy: d.cfg.Policy, shedder: newShedder(&d.cfg.Stream, d.stores.Clients.Ops),
		clock:     streamclock.Clock{Client: d.stores.Clients.Ops},
		windows:   windows,
		cooldowns: cooldown.New(d.stores.Clients.Ops, d.cfg.KeyPrefix, d.now),
		blocks:    d.stores.Blocks, sinks: d.fanout, now: d.now, metrics: m, warnings: newEventWarnings(d.log, d.now, d.registry),
		uncounted: d.uncounted, tracing: d.tracing,
	}
}

func (d *Detector) consumerOptions(m *pipelineMetrics) consumer.Options {
	s := d.cfg.Stream
	return consumer.Options{
		Clients: d.stores.Clients, Streams: s.Names, Group: s.Group, Consumer: d.consumerName(), Prefix: d.cfg.KeyPrefix,
		Loops: s.Loops, BatchSize: s.BatchSize, Block: s.Block, ClaimMinIdle: s.ClaimMinIdle, MaxDeliveries: s.MaxDeliveries,
		Retention: s.Retention, MaxLag: s.MaxLag, Shed: shedInRedis(&s, m), DeadMaxLen: int64(s.DeadMaxLen), Grace: d.cfg.Shutdown.Grace,
		Logger: d.log, Registerer: d.registry, Now: d.now,
	}
}

// Uncounted returns which events this worker could not use since it started, most frequent first.
func (d *Detector) Uncounted() []uncounted.Tally { return d.uncounted.Top() }

// Addr is where metrics and health are served; "" is nowhere.
func (d *Detector) Addr() string {
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}
