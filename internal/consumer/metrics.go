package consumer

import (
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of one consumer, by stream.
type metrics struct {
	delivered, claimed, acked, readErrors, batchErrors *prometheus.CounterVec
	recreated, trimmed, lost, lossUnknown, dead        *prometheus.CounterVec
	outOfOrder                                         *prometheus.CounterVec
	lag, lagEstimated, pending, oldest                 *prometheus.GaugeVec
	behind, waiting                                    *prometheus.GaugeVec
	entries, duration                                  *prometheus.HistogramVec

	classes classes
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wardstream_" + name, Help: help}, append([]string{"stream"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wardstream_" + name, Help: help}, []string{"stream"})
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "wardstream_" + name, Help: help, Buckets: buckets}, []string{"stream"})
	}
	m := &metrics{
		delivered:    counter("entries_delivered_total", "Entries read from the stream, including the worker's own pending entries."),
		claimed:      counter("entries_claimed_total", "Entries claimed from consumers that left them pending."),
		acked:        counter("entries_acked_total", "Entries acknowledged after their effects were written."),
		lost:         counter("entries_lost_total", "Entries trimmed from the stream while still pending or unread, by cause.", "cause"),
		lossUnknown:  counter("stream_loss_unknown_total", "Times an unknown number of entries may have been trimmed unread, because Redis lost count at a restart or failover."),
		dead:         counter("dead_letters_total", "Entries that were dead-lettered, by class of reason.", "reason"),
		recreated:    counter("groups_recreated_total", "Times the consumer group was missing and was created again. Entries may have been lost."),
		trimmed:      counter("entries_trimmed_total", "Handled entries trimmed by stream.retention."),
		readErrors:   counter("read_errors_total", "Reads and claims that failed."),
		batchErrors:  counter("batch_errors_total", "Batches that a failing Redis or Postgres left unfinished, at least in part."),
		outOfOrder:   counter("batches_out_of_order_total", "Batches that stopped waiting for the batches read before them."),
		lag:          gauge("stream_lag", "Entries not yet fetched by the consumer group."),
		lagEstimated: gauge("stream_lag_estimated", "1 while wardstream_stream_lag is an estimate, else 0."),
		pending:      gauge("stream_pending", "Entries delivered to the consumer group and not acknowledged."),
		oldest:       gauge("stream_oldest_unprocessed_seconds", "Age of the oldest entry that is unread or pending."),
		behind:       gauge("stream_over_max_lag", "1 while the oldest unprocessed entry is older than stream.max_lag, else 0."),
		waiting:      gauge("entries_waiting", "Entries in the retry queue."),
		entries:      histogram("batch_entries", "Entries in a batch.", prometheus.ExponentialBuckets(1, 2, 11)),
		duration:     histogram("batch_duration_seconds", "Time from receiving a batch to acknowledging it.", prometheus.ExponentialBuckets(0.0005, 2, 16)),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.delivered, m.claimed, m.acked, m.lost, m.lossUnknown, m.dead, m.recreated, m.trimmed, m.readErrors, m.batchErrors,
		m.outOfOrder,
		m.lag, m.lagEstimated, m.pending, m.oldest, m.behind, m.waiting, m.entries, m.duration,
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// streamMetrics are the metrics of one stream; all are there from the start, with zeros.
type streamMetrics struct {
	delivered, claimed, acked, readErrors, batchErrors prometheus.Counter
	recreated, trimmed, lostPending, lostUnread        prometheus.Counter
	lossUnknown, outOfOrder                            prometheus.Counter
	lag, lagEstimated, pending, oldest                 prometheus.Gauge
	behind, waiting                                    prometheus.Gauge
	batchEntries, batchDuration                        prometheus.Observer

	deadLetter func(reason string)
}

func (m *metrics) of(stream string) *streamMetrics {
	return &streamMetrics{
		delivered: m.delivered.WithLabelValues(stream), claimed: m.claimed.WithLabelValues(stream),
		acked: m.acked.WithLabelValues(stream), readErrors: m.readErrors.WithLabelValues(stream),
		batchErrors: m.batchErrors.WithLabelValues(stream), recreated: m.recreated.WithLabelValues(stream),
		trimmed:     m.trimmed.WithLabelValues(stream),
		lostPending: m.lost.WithLabelValues(stream, "pending"), lostUnread: m.lost.WithLabelValues(stream, "unread"),
		lossUnknown: m.lossUnknown.WithLabelValues(stream), outOfOrder: m.outOfOrder.WithLabelValues(stream),
		lag: m.lag.WithLabelValues(stream), lagEstimated: m.lagEstimated.WithLabelValues(stream), pending: m.pending.WithLabelValues(stream),
		oldest: m.oldest.WithLabelValues(stream), behind: m.behind.WithLabelValues(stream), waiting: m.waiting.WithLabelValues(stream),
		batchEntries: m.entries.WithLabelValues(stream), batchDuration: m.duration.WithLabelValues(stream),
		deadLetter: func(reason string) { m.dead.WithLabelValues(stream, m.classes.of(reason)).Inc() },
	}
}

const (
	maxClasses   = 32
	maxClass     = 40 // bytes
	otherClasses = "other"
)

// classes turns reasons into a bounded number of label values: what precedes a
// colon, as long as there are few.
type classes struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

func (c *classes) of(reason string) string {
	class, _, _ := strings.Cut(reason, ":")
	class = strings.ToValidUTF8(strings.TrimSpace(class), "")
	if class == "" || len(class) > maxClass {
		return otherClasses
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.seen[class]; ok {
		return class
	}
	if len(c.seen) >= maxClasses {
		return otherClasses
	}
	if c.seen == nil {
		c.seen = make(map[string]struct{})
	}
	c.seen[class] = struct{}{}
	return class
}
