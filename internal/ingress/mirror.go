package ingress

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/mirror"
)

// openMirror makes the mirror that stands for a look-up in Redis. It doesn't run yet, and asks
// Redis until it does.
func openMirror(client redis.UniversalClient, o *Options, cold checker.Lookup, log *slog.Logger) *mirror.Mirror {
	opts := []mirror.Option{mirror.WithKeyPrefix(o.KeyPrefix), mirror.WithOnState(mirrorLog(log))}
	if o.PermanentTier {
		opts = append(opts, mirror.WithPermanentTier())
	}
	if cold != nil {
		opts = append(opts, mirror.WithColdLookup(cold))
	}
	return mirror.New(client, opts...)
}

// mirrorLog logs changes of state, and once in a while what the mirror rides out in one.
func mirrorLog(log *slog.Logger) func(mirror.State, error) {
	last, trouble := mirror.Starting, &limiter{every: time.Minute}
	return func(state mirror.State, err error) { // one goroutine calls it
		left, due := trouble.pass(time.Now())
		switch {
		case err == nil:
			log.Info("mirror of blocks", "state", state)
		case state != last || due:
			log.Warn("mirror of blocks", "state", state, "error", err, "left_out", left)
		}
		last = state
	}
}

// runMirror runs the mirror, if there is one, until stop is called, which returns once it has
// ended: requests under way at the end of ctx are still answered from it. failed takes the error of
// one that can't run at all.
func (s *Server) runMirror(ctx context.Context, failed chan<- error) (stop func()) {
	m := s.store.mirror
	if m == nil {
		return func() {}
	}
	return s.runBeside(ctx, func(ctx context.Context) {
		if err := m.Run(ctx); err != nil {
			failed <- err
		}
	})
}

// runBeside runs do until stop is called, which returns once it has ended. The end of ctx is not
// that of do.
func (s *Server) runBeside(ctx context.Context, do func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// mirrorMetrics are what to watch a mirror by.
func mirrorMetrics(m *mirror.Mirror) []prometheus.Collector {
	gauge := func(name, help string, value func(mirror.Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(m.Status()) })
	}
	count := func(name, help string, value func(mirror.Status) int64) prometheus.Collector {
		return counterOf(name, help, func() uint64 { return uint64(max(value(m.Status()), 0)) })
	}
	return []prometheus.Collector{
		gauge("wardstream_ingress_mirror_following", "1 while the mirror answers by itself, 0 while Redis is asked.", func(s mirror.Status) float64 {
			if s.State == mirror.Following {
				return 1
			}
			return 0
		}),
		gauge("wardstream_ingress_mirror_blocks", "Blocks in the mirror.", func(s mirror.Status) float64 { return float64(s.Blocks) }),
		gauge("wardstream_ingress_mirror_staleness_seconds", "Time since the mirror last knew that it had all changes.",
			func(s mirror.Status) float64 { return s.Staleness.Seconds() }),
		count("wardstream_ingress_mirror_snapshots_total", "Snapshots taken.", func(s mirror.Status) int64 { return s.Snapshots }),
		count("wardstream_ingress_mirror_gaps_total", "Gaps found in the stream of changes.", func(s mirror.Status) int64 { return s.Gaps }),
	}
}
