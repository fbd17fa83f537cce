package detector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/wire"
)

const (
	// webhookDeliveries is how often an event is posted before it is given up: some 20 s
	// of a receiver that is down, for each.
	webhookDeliveries = 10
	// otlpBatch keeps a request below the 4 MiB that gRPC servers take, however long the events' strings.
	otlpBatch = 64
	// otlpAttempt leaves the exporter its minute of retries.
	otlpAttempt = 90 * time.Second
)

// configuredSinks are where enforcement events go, and what to close afterwards.
type configuredSinks struct {
	named  []sinks.Named
	closes []func(context.Context) error
}

// openSinks makes the configured sinks but standard output. Nothing is connected yet.
func openSinks(ctx context.Context, cfg *config.Config, s *Stores, getenv func(string) string, origin wire.Origin) (configuredSinks, error) {
	var out configuredSinks
	if cfg.Events.Stream != "" {
		out.add(sinks.Named{Name: "stream", Sink: sinks.NewStream(s.Clients.Ops, sinks.StreamOptions{
			Name: cfg.Events.Stream, MaxLen: int64(cfg.Events.StreamMaxLen), Origin: origin,
		})})
	}
	if cfg.Events.OTLP && getenv("OTEL_SDK_DISABLED") != "true" {
		otlp, err := sinks.NewOTLP(ctx, getenv, origin)
		if err != nil {
			return configuredSinks{}, fmt.Errorf("events.otlp: %w", err)
		}
		out.add(sinks.Named{Name: "otlp", Sink: otlp, Detached: true, Batch: otlpBatch, Attempt: otlpAttempt}, otlp.Close)
	}
	for i, w := range cfg.Events.Webhooks {
		hook, err := sinks.NewWebhook(sinks.WebhookOptions{
			URL: string(w.URL), Secret: string(w.Secret), Timeout: w.Timeout, Origin: origin, Now: time.Now,
		})
		if err != nil {
			return configuredSinks{}, fmt.Errorf("events.webhooks[%d]: %w", i, err)
		}
		out.add(sinks.Named{
			Name: fmt.Sprintf("webhook_%d", i+1), Sink: hook, Accepts: w.Wants, Detached: true, Batch: 1,
			Attempt: w.Timeout, Deliveries: webhookDeliveries,
		}, func(context.Context) error { hook.Close(); return nil })
	}
	return out, nil
}

func (s *configuredSinks) add(n sinks.Named, closes ...func(context.Context) error) {
	s.named = append(s.named, n)
	s.closes = append(s.closes, closes...)
}

func (s *configuredSinks) close(ctx context.Context) error {
	var errs []error
	for _, c := range s.closes {
		errs = append(errs, c(ctx))
	}
	s.closes = nil
	return errors.Join(errs...)
}

// openSinks opens the configured sinks and standard output, and the fan-out to them.
func (d *Detector) openSinks(ctx context.Context, o Options) error {
	origin := originOf(d.cfg, o.Version)
	configured, err := openSinks(ctx, d.cfg, d.stores, o.Getenv, origin)
	if err != nil {
		return err
	}
	d.cleanups.add("sinks", configured.close)
	if d.cfg.Events.Stdout && o.Stdout != nil {
		configured.add(sinks.Named{Name: "stdout", Sink: sinks.NewJSONL(o.Stdout, origin)})
	}
	d.fanout, err = sinks.NewFanout(sinks.Options{Registerer: d.registry, Logger: d.log, Now: d.now}, configured.named...)
	if err != nil {
		return err
	}
	d.cleanups.add("fan-out of events", d.fanout.Close)
	return nil
}

func originOf(cfg *config.Config, version string) wire.Origin {
	resource := map[string]string{"service.name": cfg.Events.ServiceName}
	for k, v := range cfg.Events.Resource {
		resource[k] = v
	}
	return wire.Origin{Resource: resource, Version: version}
}
