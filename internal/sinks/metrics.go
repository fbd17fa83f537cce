package sinks

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Fanout counts, by sink.
type metrics struct {
	emitted, failures, dropped *prometheus.CounterVec
	queued                     *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"sink"})
	}
	m := &metrics{
		emitted:  counter("wardstream_events_emitted_total", "Enforcement events delivered to the sink."),
		failures: counter("wardstream_events_failures_total", "Failed deliveries of enforcement events, which are retried."),
		dropped:  counter("wardstream_events_dropped_total", "Enforcement events lost because the sink's queue was full, the sink refused them, or the process stopped."),
		queued: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wardstream_events_queued", Help: "Enforcement events waiting in the sink's queue.",
		}, []string{"sink"}),
	}
	for _, c := range []prometheus.Collector{m.emitted, m.failures, m.dropped, m.queued} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of events: %w", err)
		}
	}
	return m, nil
}
