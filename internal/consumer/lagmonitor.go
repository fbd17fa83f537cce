package consumer

import (
	"context"
	"time"
)

// A lagMonitor publishes how far the group is behind, and warns if that is too far or entries were
// lost.
type lagMonitor struct {
	*member
	sampler   *sampler
	maxLag    time.Duration // 0 is none
	warnEvery time.Duration
	warnDue   time.Time // when the next warning that the group is behind may come
}

// measure takes a sample and sets the metrics by it.
func (l *lagMonitor) measure(ctx context.Context) error {
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
	l.compare(s)
	l.countLost(s)
	return err
}

// compare says whether the group is further behind than it may be, and warns of it now and then.
func (l *lagMonitor) compare(s sample) {
	if l.maxLag == 0 || s.oldest <= l.maxLag {
		l.metrics.behind.Set(0)
		return
	}
	l.metrics.behind.Set(1)
	if now := l.now(); !now.Before(l.warnDue) {
		l.warnDue = now.Add(l.warnEvery)
		l.log.Warn("the group is behind: the oldest unprocessed entry is older than stream.max_lag",
			"age", s.oldest, "max_lag", l.maxLag, "lag", s.lag, "pending", s.pending)
	}
}

// countLost counts entries that were trimmed before they were read.
func (l *lagMonitor) countLost(s sample) {
	if s.lost > 0 {
		l.metrics.lostUnread.Add(float64(s.lost))
		l.log.Warn("entries were trimmed from the stream before they were read and are lost", "entries", s.lost)
	}
	if s.unknown {
		l.metrics.lossUnknown.Inc()
		l.log.Warn("entries may have been trimmed from the stream before they were read; how many is unknown, " +
			"since Redis was restarted or failed over meanwhile and lost count of those that were read")
	}
}
