package detector

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wardstream/wardstream/internal/store"
)

// pipelineMetrics counts what the pipeline does. Labels are rule names, which
// configuration bounds, and words from fixed sets.
type pipelineMetrics struct {
	evaluated prometheus.Counter
	skipped   prometheus.Counter // they speak of enforcement
	denied    prometheus.Counter // they are denials of our own
	shed      prometheus.Counter
	future    prometheus.Counter
	malformed *prometheus.CounterVec
	matches   *prometheus.CounterVec
	alerts    *prometheus.CounterVec
	blocks    *prometheus.CounterVec
	delay     prometheus.Histogram
}

func newPipelineMetrics(reg prometheus.Registerer) *pipelineMetrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	skipped := vec("wardstream_events_skipped_total", "Events acknowledged without evaluation, by reason: Wardstream's own events, responses to its own denials, or late events that were shed.", "reason")
	m := &pipelineMetrics{
		evaluated: counter("wardstream_events_evaluated_total", "Events passed to rules, redeliveries included."),
		skipped:   skipped.WithLabelValues("enforcement"), denied: skipped.WithLabelValues("denied"), shed: skipped.WithLabelValues("shed"),
		future:    counter("wardstream_events_of_the_future_total", "Events with a future timestamp, dated now; redeliveries included."),
		malformed: vec("wardstream_events_malformed_total", "Entries that could not be decoded, by class of error.", "class"),
		matches:   vec("wardstream_matches_total", "Matches by rule, redeliveries included.", "rule"),
		alerts:    vec("wardstream_alerts_total", "Alerts by rule and outcome: emitted, or repeated within their cooldown.", "rule", "outcome"),
		blocks:    vec("wardstream_blocks_total", "Blocks requested, by rule, kind and outcome.", "rule", "kind", "outcome"),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wardstream_detection_delay_seconds",
			Help:    "Time from the entry's ID to its block being written, for blocks that began.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},

			NativeHistogramBucketFactor: 1.1,
		}),
	}
	reg.MustRegister(m.delay)
	return m
}

func (m *pipelineMetrics) put(rule string, permanent bool, outcome store.Outcome) {
	kind := "temporary"
	if permanent {
		kind = "permanent"
	}
	m.blocks.WithLabelValues(rule, kind, outcomeName(outcome)).Inc()
}

func outcomeName(o store.Outcome) string {
	switch o {
	case store.Began:
		return "began"
	case store.BecamePermanent:
		return "became_permanent"
	case store.Extended:
		return "extended"
	case store.Lapsed:
		return "lapsed"
	case store.Unblocked:
		return "unblocked"
	case store.Kept:
	}
	return "kept"
}
