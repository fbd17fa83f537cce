package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
)

// TestAllowlistChangeReachesIngressAndNamesBlocks: a restart with a new allowlist reaches ingress,
// and names the blocks that it contradicts.
func TestAllowlistChangeReachesIngressAndNamesBlocks(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	in := install(t, env, nil, "ipv6_prefix: 64\nallowlist: [203.0.113.9, 'user:1']\nrules: [{name: brute_force_login}]\n")
	in.command("block", "ip", "203.0.113.9", "--ttl", "1h", "--yes").answers(t, 0)
	in.command("block", "user", "2", "--ttl", "1h").answers(t, 0)
	w := in.start()
	testenv.Eventually(t, 30*time.Second, func() error {
		raw, err := env.Client.Get(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Settings()).Result()
		if err != nil {
			return err
		}
		s, err := wire.DecodeSettings(raw)
		if err != nil || s.IPv6Prefix != 64 || strings.Join(s.Allowlist, " ") != "203.0.113.9 user:1" {
			return errors.New("settings " + raw)
		}
		if !strings.Contains(w.log.String(), `"scope_value":"203.0.113.9"`) {
			return errors.New("the log names no contradiction: " + w.log.String())
		}
		return nil
	})
	if ttl := env.Client.PTTL(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Settings()).Val(); ttl <= 0 || ttl > 24*time.Hour {
		t.Errorf("the settings last %s", ttl)
	}
	if strings.Contains(w.log.String(), `"scope_value":"2"`) {
		t.Error("a block that nothing contradicts is named")
	}
	r := in.examine(0)
	r.has(t, "warn", "allowlist", "ip:203.0.113.9 is blocked and the allowlist names it", "detector unblock ip 203.0.113.9")
	other := install(t, env, nil, "ipv6_prefix: 48\n")
	other.examine(0).has(t, "warn", "settings", "a running detector has ipv6_prefix 64, this configuration 48", "the same ipv6_prefix")
	in.command("unblock", "ip", "203.0.113.9").answers(t, 0)
	for _, f := range in.examine(0).Checks {
		if f.Check == "allowlist" || f.Check == "settings" {
			t.Errorf("finding %+v", f)
		}
	}
}
