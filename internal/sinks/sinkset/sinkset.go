// Package sinkset opens the sinks of enforcement events that the configuration names.
package sinkset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/wire"
)

const (
	// webhookDeliveries is how often an event is posted before it is dropped: some 20 s
	// of a receiver that is down, for each.
	webhookDeliveries = 10
	// otlpBatch keeps a request below the 4 MiB that gRPC servers take, however long the events'
	// strings.
	otlpBatch = 64
	// otlpAttempt leaves the exporter its minute of retries.
	otlpAttempt = 90 * time.Second
)

// A Set is the sinks that were opened, and how to close them.
type Set struct {
	Sinks  []sinks.Named
	closes []func(context.Context) error
}

// Open opens the configured sinks except standard output. It does not connect yet. getenv
// reads the OTEL_* variables.
func Open(ctx context.Context, cfg *config.Config, client redis.UniversalClient, getenv func(string) string, origin wire.Origin) (*Set, error) {
	s := &Set{}
	if cfg.Events.Stream != "" {
		s.Add(sinks.Named{Name: "stream", Sink: sinks.NewStream(client, sinks.StreamOptions{
			Name: cfg.Events.Stream, MaxLen: int64(cfg.Events.StreamMaxLen), Origin: origin,
		})})
	}
	if cfg.Events.OTLP && getenv("OTEL_SDK_DISABLED") != "true" {
		otlp, err := sinks.NewOTLP(ctx, getenv, origin)
		if err != nil {
			return nil, fmt.Errorf("events.otlp: %w", errors.Join(err, s.Close(ctx)))
		}
		s.Add(sinks.Named{Name: "otlp", Sink: otlp, Detached: true, Batch: otlpBatch, Attempt: otlpAttempt}, otlp.Close)
	}
	for i, w := range cfg.Events.Webhooks {
		hook, err := sinks.NewWebhook(sinks.WebhookOptions{
			URL: string(w.URL), Secret: string(w.Secret), Timeout: w.Timeout, Origin: origin, Now: time.Now,
		})
		if err != nil {
			return nil, fmt.Errorf("events.webhooks[%d]: %w", i, errors.Join(err, s.Close(ctx)))
		}
		s.Add(sinks.Named{
			Name: fmt.Sprintf("webhook_%d", i+1), Sink: hook, Accepts: w.Accepts, Detached: true, Batch: 1,
			Attempt: w.Timeout, Deliveries: webhookDeliveries,
		}, func(context.Context) error { hook.Close(); return nil })
	}
	return s, nil
}

// Add adds a sink, and what closes it.
func (s *Set) Add(n sinks.Named, closes ...func(context.Context) error) {
	s.Sinks = append(s.Sinks, n)
	s.closes = append(s.closes, closes...)
}

// Close closes the sinks.
func (s *Set) Close(ctx context.Context) error {
	var errs []error
	for _, c := range s.closes {
		errs = append(errs, c(ctx))
	}
	s.closes = nil
	return errors.Join(errs...)
}

// Origin is what events say about where they come from.
func Origin(cfg *config.Config, version string) wire.Origin {
	resource := map[string]string{"service.name": cfg.Events.ServiceName}
	maps.Copy(resource, cfg.Events.Resource)
	return wire.Origin{Resource: resource, Version: version}
}
