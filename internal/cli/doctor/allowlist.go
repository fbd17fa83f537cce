package doctor

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
)

const (
	allowlistCheck = "allowlist"
	settingsCheck  = "settings"
	// shownContradictions is how many blocks that the allowlist contradicts are named.
	shownContradictions = 5
)

// allowlist compares the configuration with the blocks, and with what running detectors published
// for ingress.
func (x *examination) allowlist(ctx context.Context) bool {
	found, err := x.stores.Contradictions(ctx, 0)
	switch {
	case err != nil && !denied(err):
		x.add(allowlistCheck, Warn, "fix that and run detector check again", "the blocks can't be listed: %v", err)
	case len(found) > shownContradictions:
		x.add(allowlistCheck, Warn, "detector blocks lists them, detector unblock lifts one", "%s of what the allowlist names; ingress lets them pass", count(len(found), "block"))
	default:
		for _, b := range found {
			x.add(allowlistCheck, Warn, fmt.Sprintf("detector unblock %s %s", b.Scope.Type, b.Scope.Value),
				"%s is blocked and the allowlist names it; ingress lets it pass", b.Scope)
		}
	}
	raw, err := x.stores.Clients.Ops.Get(ctx, rediskey.Keys{Prefix: x.cfg.KeyPrefix}.Settings()).Result()
	if err != nil {
		if err != redis.Nil && !denied(err) { //nolint:errorlint // go-redis returns it bare
			x.unknown(settingsCheck, x.cfg.KeyPrefix, err)
		}
		return true
	}
	theirs, err := wire.DecodeSettings(raw)
	if err == nil && theirs.IPv6Prefix != x.cfg.IPv6Prefix {
		x.add(settingsCheck, Warn, "give all detectors and ingress the same ipv6_prefix", "a running detector has ipv6_prefix %d, this configuration %d", theirs.IPv6Prefix, x.cfg.IPv6Prefix)
	}
	return true
}
