package detector

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	// settingsTTL outlives an outage of all detectors; settingsEvery is how often they are written.
	settingsTTL   = 24 * time.Hour
	settingsEvery = 10 * time.Second
	// maxContradictions is how many blocks that the allowlist contradicts are named.
	maxContradictions = 20
)

// publishSettings writes what ingress must agree upon until ctx ends: one SET each time. That
// it can't is logged once for each outage.
func publishSettings(ctx context.Context, cfg *config.Config, client redis.UniversalClient, log *slog.Logger) {
	raw, err := wire.Settings{Allowlist: cfg.Allowlist, IPv6Prefix: cfg.IPv6Prefix}.Encode()
	if err != nil {
		log.ErrorContext(ctx, "ingress does not learn the allowlist and ipv6_prefix", "error", err)
		return
	}
	key, failed := wire.Keys{Prefix: cfg.KeyPrefix}.Settings(), false
	ticks := time.NewTicker(settingsEvery)
	defer ticks.Stop()
	for {
		err := client.Set(ctx, key, raw, settingsTTL).Err()
		if err != nil && !failed && ctx.Err() == nil {
			log.WarnContext(ctx, "ingress does not learn the allowlist and ipv6_prefix", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// Contradictions returns the active blocks of what the configuration's allowlist names, at most limit; 0: all.
// Ingress doesn't enforce them.
func (s *Stores) Contradictions(ctx context.Context, limit int) ([]checker.Block, error) {
	if len(s.cfg.Allowlist) == 0 {
		return nil, nil
	}
	blocks, err := s.Blocks.List(ctx, 0)
	if err != nil {
		return nil, err
	}
	var found []checker.Block
	for _, b := range blocks {
		if s.cfg.Policy.Allowlist.Holds(b.Scope, &event.Event{}) {
			if found = append(found, b); len(found) == limit {
				break
			}
		}
	}
	return found, nil
}

// warnContradictions logs the blocks that the allowlist contradicts.
func (s *Stores) warnContradictions(ctx context.Context, log *slog.Logger) {
	found, err := s.Contradictions(ctx, maxContradictions)
	if err != nil {
		if ctx.Err() == nil {
			log.WarnContext(ctx, "blocks were not compared with the allowlist", "error", err)
		}
		return
	}
	for _, b := range found {
		log.WarnContext(ctx, "the allowlist names what is blocked; lift the block with detector unblock", "scope_type", b.Scope.Type,
			"scope_value", b.Scope.Value, "rule", b.Rule, "permanent", b.Permanent())
	}
}
