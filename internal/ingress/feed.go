package ingress

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/report"
	"github.com/wardstream/wardstream/pkg/publisher"
)

// A feed is what ingress-check publishes, none of it on a request's path: what it decided, and
// which requests it let pass. It has a Redis client of its own, so that no check waits for a
// connection because of it.
type feed struct {
	client   redis.UniversalClient // nil: nothing goes to Redis
	reporter *report.Reporter
	requests *requests // nil: not published
}

// openFeed makes what the options ask for. Failed checks are logged in any case.
func openFeed(o *Options, proxies checker.TrustedProxies, log *slog.Logger, m *metrics) (*feed, error) {
	f := &feed{}
	if o.Publish || o.EventsStream != "" {
		client, err := connectRedis(o)
		if err != nil {
			return nil, err
		}
		f.client = client
	}
	sinks := []report.Option{report.WithLogger(log), report.WithResource(map[string]string{"service.name": "ingress-check"})}
	if o.EventsStdout {
		sinks = append(sinks, report.WithWriter(o.Stdout))
	}
	if o.EventsStream != "" {
		sinks = append(sinks, report.WithStream(f.client, o.EventsStream, 0))
	}
	f.reporter = report.New(sinks...)
	m.registry.MustRegister(
		counterOf("wardstream_ingress_events_emitted_total", "Enforcement events that a sink has taken, the log included.",
			func() uint64 { return f.reporter.Stats().Emitted }),
		counterOf("wardstream_ingress_events_dropped_total", "Enforcement events that a sink failed to take.",
			func() uint64 { return f.reporter.Stats().Dropped }))
	if o.Publish {
		f.requests = newRequests(o, proxies, f.client, log, m.registry)
	}
	return f, nil
}

func counterOf(name, help string, count func() uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(count()) })
}

// drainTimeout bounds the shutdown during an outage of Redis: these events only describe requests
// and do not justify a long wait.
const drainTimeout = 2 * time.Second

// drain sends what is left, and says what was lost.
func (f *feed) drain(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := f.close(ctx); err != nil {
		log.Warn("events were lost at the stop", "error", err)
	}
}

// close sends what is left until ctx ends.
func (f *feed) close(ctx context.Context) error {
	errs := []error{f.reporter.Close(ctx)}
	if f.requests != nil {
		errs = append(errs, f.requests.publisher.Close(ctx))
	}
	if f.client != nil {
		_ = f.client.Close()
	}
	return errors.Join(errs...)
}

// requests publishes the requests that are let pass, as audit.http.request.pre.
type requests struct {
	publisher    *publisher.Publisher
	proxies      checker.TrustedProxies
	unattributed prometheus.Counter // requests without a known client to count against
}

const typeRequest = "audit.http.request.pre"

func newRequests(o *Options, proxies checker.TrustedProxies, client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *requests {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wardstream_ingress_publish_dropped_total",
		Help: "Requests that were not published: the buffer was full, Redis was away for too long, the process stopped, or no client is known.",
	}, []string{"reason"})
	reasons := map[error]prometheus.Counter{
		publisher.ErrFull: dropped.WithLabelValues("full"), publisher.ErrExpired: dropped.WithLabelValues("expired"),
		publisher.ErrInvalid: dropped.WithLabelValues("invalid"), publisher.ErrClosed: dropped.WithLabelValues("closed"),
	}
	trouble := &limiter{every: time.Minute}
	p := publisher.New(client, publisher.WithStreams(o.PublishStream...), publisher.WithBuffer(o.PublishBuffer),
		publisher.WithOnDrop(func(n int, why error) {
			for reason, counter := range reasons {
				if errors.Is(why, reason) {
					counter.Add(float64(n))
				}
			}
		}),
		publisher.WithOnError(func(err error) {
			if left, ok := trouble.pass(time.Now()); ok {
				log.Warn("requests can't be published", "error", err, "left_out", left)
			}
		}))
	reg.MustRegister(dropped,
		counterOf("wardstream_ingress_published_total", "Requests that were published.", func() uint64 { return p.Stats().Published }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wardstream_ingress_publish_queued", Help: "Requests that wait to be published.",
		}, func() float64 { return float64(p.Stats().Queued) }))
	return &requests{p, proxies, dropped.WithLabelValues("no_client")}
}

// maxPublished bounds what is kept of a text that a client chose, in bytes: detection looks at no
// more.
const maxPublished = 4096

// publish publishes a request that is allowed. Those that are denied would keep their own block
// alive; report counts them. A trusted proxy is never named: what it can't name a client for, such
// as a balancer's health checks, would be counted against it, and a block on it would deny everyone
// behind it. r may be nil.
func (r *requests) publish(s *checker.Subject, method string, d checker.Decision) {
	if r == nil || d.Blocked {
		return
	}
	attributes := make(map[string]any, 6)
	set := func(name, value string) {
		if len(value) > maxPublished {
			value = strings.Clone(value[:maxPublished])
		}
		if value != "" {
			attributes[name] = value
		}
	}
	if s.IP.IsValid() && !r.proxies.Trusts(s.IP) {
		set("source.address", s.IP.Unmap().WithZone("").String())
	}
	set("user.id", s.User)
	set("user.name", s.Username)
	set("session.id", s.Session)
	if len(attributes) == 0 {
		r.unattributed.Inc()
		return
	}
	set("url.path", s.Path)
	if s.Path != "" { // else the peer isn't trusted to speak of the request
		set("http.request.method", method)
	}
	r.publisher.Publish(publisher.Event{Type: typeRequest, Attributes: attributes})
}
