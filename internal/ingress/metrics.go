package ingress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wardstream/wardstream/pkg/checker"
)

// metrics counts checks. No label ever carries what a client can choose.
type metrics struct {
	registry  *prometheus.Registry
	decisions map[string]prometheus.Counter // by result
	errors    *prometheus.CounterVec
	duration  prometheus.Histogram
	distrust  prometheus.Counter
	proxies   prometheus.Counter
	refused   prometheus.Counter
}

func newMetrics() *metrics {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wardstream_ingress_decisions_total",
		Help: "Checks by result: allowed, blocked, or failed and decided by the fail mode (failed_open, failed_closed).",
	}, []string{"result"})
	m := &metrics{
		registry: prometheus.NewRegistry(),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wardstream_ingress_errors_total",
			Help: "Checks that failed, by kind of error.",
		}, []string{"type"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wardstream_ingress_check_duration_seconds",
			Help:    "Time a check took, the look-up included.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25},
		}),
		distrust: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_ingress_untrusted_forwarded_total",
			Help: "Requests that name a client from a peer that is not a trusted proxy: the peer was checked.",
		}),
		proxies: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_ingress_client_is_proxy_total",
			Help: "Requests whose client came out as a trusted proxy: a block on it would block everyone behind it.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_ingress_refused_connections_total",
			Help: "Connections of peers that may not send a PROXY protocol header.",
		}),
	}
	m.registry.MustRegister(decisions, m.errors, m.duration, m.distrust, m.proxies, m.refused,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.decisions = map[string]prometheus.Counter{}
	for _, result := range []string{checker.ResultAllowed, checker.ResultBlocked, checker.ResultFailedOpen, checker.ResultFailedClosed} {
		m.decisions[result] = decisions.WithLabelValues(result)
	}
	return m
}

func (m *metrics) decided(d checker.Decision, took time.Duration) {
	m.duration.Observe(took.Seconds())
	m.decisions[d.Result()].Inc()
	if d.Err != nil {
		m.errors.WithLabelValues(checker.ErrorClass(d.Err)).Inc()
	}
}
