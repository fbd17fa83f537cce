package consumer

import (
	"context"
	"time"
)

// upkeep does a stream's housekeeping until ctx ends. It touches no entry in hand,
// and every worker may do it at once.
func (l *loop) upkeep(ctx context.Context) {
	chores := []struct {
		every time.Duration
		do    func(context.Context) error
	}{
		{l.every.sample, l.sample},
		{l.every.sample, l.date},
		{l.every.trim, l.trim},
		{l.every.sweep, l.sweep},
	}
	due := make([]time.Time, len(chores))
	for ctx.Err() == nil {
		next := l.Now().Add(l.every.sample)
		for i, c := range chores {
			if now := l.Now(); !due[i].After(now) {
				l.chore(ctx, c.do)
				due[i] = now.Add(c.every/2 + jitter(c.every))
			}
			if due[i].Before(next) {
				next = due[i]
			}
		}
		pause(ctx, next.Sub(l.Now()))
	}
}

func (l *loop) chore(ctx context.Context, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	if err := do(ctx); err != nil && ctx.Err() == nil {
		l.log.Warn("housekeeping failed", "error", err)
	}
}

func (l *loop) sample(ctx context.Context) error {
	s, ok, err := l.sampler.take(ctx)
	if !ok {
		return err
	}
	l.metrics.lag.Set(float64(s.lag))
	l.metrics.lagEstimated.Set(0)
	if !s.exact {
		l.metrics.lagEstimated.Set(1)
	}
	l.metrics.pending.Set(float64(s.pending))
	l.metrics.oldest.Set(s.oldest.Seconds())
	l.tellLag(s)
	if s.lost > 0 {
		l.metrics.lostUnread.Add(float64(s.lost))
		l.log.Warn("entries were trimmed from the stream before they were read and are lost", "entries", s.lost)
	}
	if s.unknown {
		l.metrics.lossUnknown.Inc()
		l.log.Warn("entries may have been trimmed from the stream before they were read; how many is unknown, " +
			"since Redis was restarted or failed over meanwhile and lost count of those that were read")
	}
	return err
}

// tellLag says whether the group is too far behind, and warns of it now and then.
func (l *loop) tellLag(s sample) {
	if l.MaxLag == 0 || s.oldest <= l.MaxLag {
		l.metrics.behind.Set(0)
		return
	}
	l.metrics.behind.Set(1)
	if now := l.Now(); !now.Before(l.warnDue) {
		l.warnDue = now.Add(l.every.warn)
		l.log.Warn("the group is behind: the oldest unprocessed entry is older than stream.max_lag",
			"age", s.oldest, "max_lag", l.MaxLag, "lag", s.lag, "pending", s.pending)
	}
}

func (l *loop) trim(ctx context.Context) error {
	if l.Retention == 0 {
		return nil
	}
	n, err := trim(ctx, l.Clients.Ops, l.stream, l.Group, l.Retention)
	l.metrics.trimmed.Add(float64(n))
	return err
}

func (l *loop) sweep(ctx context.Context) error {
	names, err := removeConsumers(ctx, l.Clients.Ops, l.stream, l.Group, "", l.every.idle)
	if len(names) > 0 {
		l.log.Info("removed consumers that are gone", "names", names)
	}
	return err
}
