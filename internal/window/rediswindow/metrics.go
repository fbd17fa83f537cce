package rediswindow

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what the bound on remembered clears costs.
type Metrics struct {
	// ClearsDropped counts clears that were forgotten before they were too old to matter.
	ClearsDropped prometheus.Counter
	// MembersSpared counts members that were not counted since a clear of theirs may have
	// been forgotten.
	MembersSpared prometheus.Counter
}

// NewMetrics returns metrics that are registered with r.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := newMetrics()
	for _, c := range []prometheus.Collector{m.ClearsDropped, m.MembersSpared} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register window metrics: %w", err)
		}
	}
	return m, nil
}

func newMetrics() *Metrics {
	return &Metrics{
		ClearsDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_window_clears_dropped_total",
			Help: "Clears, such as of a login success, forgotten early because one window had clears of too many tags.",
		}),
		MembersSpared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_window_members_spared_total",
			Help: "Members that were not counted because a clear of theirs may have been forgotten.",
		}),
	}
}
