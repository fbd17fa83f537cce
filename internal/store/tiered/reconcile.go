package tiered

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	// DefaultInterval is the time between passes of a Reconciler.
	DefaultInterval = 30 * time.Second

	refreshChunk = 500
	changesLimit = 1000            // beyond that a rebuild is cheaper
	overlap      = time.Minute     // by which other software's clock may be behind
	purgeAfter   = 24 * time.Hour  // how long an ended temporary block stays in the durable tier
	passTimeout  = 5 * time.Minute // of one pass
)

// A Change is the outcome of a pass of the Reconciler.
type Change string

// Outcomes of a pass, which are also label values of wardstream_reconcile_total.
const (
	Fresh      Change = "fresh"     // nothing to do
	Synced     Change = "synced"    // recent changes of the durable tier were copied
	Rebuilt    Change = "rebuilt"   // the membership hash and the copies were rewritten
	Superseded Change = "overtaken" // only the copies were rewritten: blocks kept changing during the rebuild
)

// A Report describes one pass of the Reconciler.
type Report struct {
	Change   Change
	Blocks   int // in the membership hash
	Repaired int // copies that differed from the durable tier
}

// ReconcilerOptions configure a Reconciler; zero values mean the defaults.
type ReconcilerOptions struct {
	Interval   time.Duration         // between passes, give or take a fifth; DefaultInterval
	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: no log
}

// A Reconciler repairs Redis's copy of the durable tier. Any number of Reconcilers may work on the
// same stores.
type Reconciler struct {
	blocks   *Blocks
	interval time.Duration
	log      *slog.Logger
	since    time.Time // of the changes that the last pass may not have seen

	passes    *prometheus.CounterVec
	repairs   prometheus.Counter
	permanent prometheus.Gauge
	duration  prometheus.Histogram
}

// NewReconciler returns a Reconciler of b. It does nothing if b has no durable tier.
func NewReconciler(b *Blocks, o ReconcilerOptions) *Reconciler {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	metrics := promauto.With(o.Registerer)
	r := &Reconciler{
		blocks: b, interval: o.Interval, log: o.Logger,
		passes: metrics.NewCounterVec(prometheus.CounterOpts{
			Name: "wardstream_reconcile_total",
			Help: "Passes of the reconciler by outcome: fresh (nothing to do), synced, rebuilt, overtaken (superseded by a write, started again) or error.",
		}, []string{"outcome"}),
		repairs: metrics.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_reconcile_repairs_total",
			Help: "Copies in Redis that differed from Postgres and were repaired.",
		}),
		permanent: metrics.NewGauge(prometheus.GaugeOpts{
			Name: "wardstream_permanent_blocks",
			Help: "Permanent blocks in the membership hash.",
		}),
		duration: metrics.NewHistogram(prometheus.HistogramOpts{
			Name: "wardstream_reconcile_duration_seconds", Help: "Duration of a pass of the reconciler.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9), NativeHistogramBucketFactor: 1.1,
		}),
	}
	for _, outcome := range []string{string(Fresh), string(Synced), string(Rebuilt), string(Superseded), "error"} {
		r.passes.WithLabelValues(outcome)
	}
	return r
}

// Run makes a pass at once and then one every interval, until ctx ends. Errors are logged and
// counted; the next pass retries.
func (r *Reconciler) Run(ctx context.Context) {
	if r.blocks.durable == nil {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		pass, cancel := context.WithTimeout(ctx, passTimeout)
		report, err := r.Reconcile(pass)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.log.WarnContext(ctx, "permanent blocks couldn't be reconciled", "error", err)
		case report.Change != Fresh:
			r.log.InfoContext(ctx, "permanent blocks reconciled", "outcome", string(report.Change),
				"blocks", report.Blocks, "repaired", report.Repaired)
		}
		jitter := 0.8 + 0.4*rand.Float64()
		timer.Reset(time.Duration(float64(r.interval) * jitter))
	}
}

// Reconcile makes one pass. If the membership hash is missing, incomplete or older than a third of
// its TTL, it rebuilds the hash and refreshes and sweeps the copies. Otherwise it copies recent
// changes of the durable tier. It is not safe for concurrent use.
func (r *Reconciler) Reconcile(ctx context.Context) (Report, error) {
	if r.blocks.durable == nil {
		return Report{Change: Fresh}, nil
	}
	start := time.Now()
	report, err := r.pass(ctx)
	r.duration.Observe(time.Since(start).Seconds())
	if err != nil {
		r.passes.WithLabelValues("error").Inc()
		return report, fmt.Errorf("reconcile: %w", err)
	}
	r.passes.WithLabelValues(string(report.Change)).Inc()
	r.repairs.Add(float64(report.Repaired))
	r.permanent.Set(float64(report.Blocks))
	return report, nil
}

func (r *Reconciler) pass(ctx context.Context) (Report, error) {
	start := r.blocks.now()
	m, err := r.blocks.cache.Members(ctx)
	if err != nil {
		return Report{}, err
	}
	report := Report{Change: Fresh, Blocks: m.Blocks}
	stale := !m.Complete || m.Age >= r.blocks.cache.PermanentTTL()/3
	if !stale {
		enough, n, err := r.sync(ctx)
		if err != nil {
			return report, err
		}
		if n > 0 {
			report.Change, report.Repaired = Synced, n
		}
		stale = !enough
	}
	if stale {
		if report, err = r.rebuild(ctx, m); err != nil {
			return report, err
		}
	}
	r.since = start.Add(-overlap)
	return report, nil
}

// A changer returns recently changed scopes. A durable tier need not implement it.
type changer interface {
	Changed(ctx context.Context, since time.Time, limit int) ([]checker.Scope, error)
}

// sync copies what changed in the durable tier since the last pass, by other software or by a
// worker that crashed before it wrote to Redis. It returns false if a rebuild is needed: if too
// much changed, or at the first pass.
func (r *Reconciler) sync(ctx context.Context) (enough bool, repaired int, err error) {
	changes, ok := r.blocks.durable.(changer)
	if !ok {
		return true, 0, nil
	}
	since := r.since
	if since.IsZero() {
		since = r.blocks.now().Add(-r.blocks.cache.PermanentTTL())
	}
	scopes, err := changes.Changed(ctx, since, changesLimit)
	if err != nil || len(scopes) == 0 {
		return true, 0, err
	}
	if len(scopes) == changesLimit {
		return false, 0, nil
	}
	n, err := r.blocks.cache.Sync(ctx, scopes, r.blocks.durable.Lookup)
	return true, n, err
}

// rebuild rewrites the membership hash and the copies.
func (r *Reconciler) rebuild(ctx context.Context, m store.Members) (Report, error) {
	cache, durable := r.blocks.cache, r.blocks.durable
	report := Report{Change: Rebuilt, Blocks: m.Blocks}
	switch n, err := cache.Rebuild(ctx, durable.Each); {
	case errors.Is(err, store.ErrConflict):
		report.Change = Superseded
	case err != nil:
		return report, err
	default:
		report.Blocks = n
	}
	if err := r.refresh(ctx); err != nil {
		return report, err
	}
	var err error
	if report.Repaired, err = cache.Sweep(ctx, durable.Lookup); err != nil {
		return report, err
	}
	return report, r.purge(ctx)
}

// refresh writes the copies of all blocks, in batches.
func (r *Reconciler) refresh(ctx context.Context) error {
	chunk := make([]checker.Block, 0, refreshChunk)
	err := r.blocks.durable.Each(ctx, func(b checker.Block) error {
		if chunk = append(chunk, b); len(chunk) < refreshChunk {
			return nil
		}
		err := r.blocks.cache.Refresh(ctx, chunk)
		chunk = chunk[:0]
		return err
	})
	if err != nil {
		return fmt.Errorf("refresh copies: %w", err)
	}
	return r.blocks.cache.Refresh(ctx, chunk)
}

// purge deletes temporary blocks that expired long ago from a durable tier that stores them.
func (r *Reconciler) purge(ctx context.Context) error {
	durable, ok := r.blocks.durable.(interface {
		Purge(ctx context.Context, before time.Time) (int64, error)
	})
	if !ok || !r.blocks.both {
		return nil
	}
	if _, err := durable.Purge(ctx, r.blocks.now().Add(-purgeAfter)); err != nil {
		return fmt.Errorf("purge ended blocks: %w", err)
	}
	return nil
}
