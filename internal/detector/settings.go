package detector

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
)

const (
	// settingsTTL outlives an outage of all detectors; settingsEvery is how often they are written.
	settingsTTL   = 24 * time.Hour
	settingsEvery = 10 * time.Second
	// maxContradictions is how many blocks that the allowlist contradicts are logged.
	maxContradictions = 20
)

// publishSettings writes the settings that ingress must share, one SET every
// settingsEvery, until ctx ends. A failure is logged once for each outage.
func publishSettings(ctx context.Context, cfg *config.Config, client redis.UniversalClient, log *slog.Logger) {
	raw, err := wire.Settings{Allowlist: cfg.Allowlist, IPv6Prefix: cfg.IPv6Prefix}.Encode()
	if err != nil {
		log.ErrorContext(ctx, "ingress does not learn the allowlist and ipv6_prefix", "error", err)
		return
	}
	key, failed := rediskey.Keys{Prefix: cfg.KeyPrefix}.Settings(), false
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

// warnContradictions logs the blocks that the allowlist contradicts.
func warnContradictions(ctx context.Context, s *backends.Stores, log *slog.Logger) {
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
