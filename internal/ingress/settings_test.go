package ingress

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
)

// writeSettings writes settings as a detector does.
func writeSettings(t *testing.T, env *testenv.RedisEnv, s wire.Settings) {
	t.Helper()
	raw, err := s.Encode()
	if err == nil {
		err = env.Client.Set(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Settings(), raw, time.Minute).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDetectorAllowlistIsNotDenied(t *testing.T) {
	t.Parallel()
	for _, mirrored := range []bool{false, true} {
		env := testenv.Redis(t)
		blockIn(t, env, "ip", "203.0.113.0/24", time.Hour)
		blockIn(t, env, "user", "1", time.Hour)
		writeSettings(t, env, wire.Settings{Allowlist: []string{"203.0.113.9", "user:1"}, IPv6Prefix: 128})
		i := start(t, func(o *Options) {
			onRedis(env)(o)
			o.UserHeader, o.Mirror = "X-User", mirrored
		})
		for header, want := range map[[2]string]int{
			{"203.0.113.9", ""}: 200, {"203.0.113.10", ""}: 429, {"198.51.100.1", "1"}: 200, {"203.0.113.10", "1"}: 429,
		} {
			res := i.ask("/", "X-Forwarded-For", header[0], "X-User", header[1])
			if res.status != want {
				t.Errorf("mirror %t: %v: %d, want %d", mirrored, header, res.status, want)
			}
		}
		writeSettings(t, env, wire.Settings{IPv6Prefix: 128}) // a detector with another configuration
		testenv.Eventually(t, 30*time.Second, func() error {
			if res := i.ask("/", "X-Forwarded-For", "203.0.113.9"); res.status != 429 {
				return errors.New("the former allowlist still holds")
			}
			return nil
		})
	}
}

func TestOwnAllowlistIsNotDenied(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	blockIn(t, env, "ip", "203.0.113.0/24", time.Hour)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.Allowlist = []string{"203.0.113.9"}
	})
	for client, want := range map[string]int{"203.0.113.9": 200, "203.0.113.10": 429} {
		if res := i.ask("/", "X-Forwarded-For", client); res.status != want {
			t.Errorf("%s: %d, want %d", client, res.status, want)
		}
	}
}

func TestIPv6PrefixThatDiffersIsReported(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	writeSettings(t, env, wire.Settings{IPv6Prefix: 64})
	i := start(t, onRedis(env))
	ready := func() string { return get(t, "http://"+i.server.HTTPAddr()+"/readyz").body }
	const says = "ipv6_prefix is 128 here and 64 in the detectors"
	testenv.Eventually(t, 30*time.Second, func() error {
		if !strings.Contains(ready(), says) {
			return errors.New("/readyz does not say so")
		}
		if len(i.log.lines(t, "the detectors' settings conflict with ours")) == 0 {
			return errors.New("the log does not say so")
		}
		return nil
	})
	writeSettings(t, env, wire.Settings{IPv6Prefix: 128})
	testenv.Eventually(t, 30*time.Second, func() error {
		if got := ready(); got != "ready\n" {
			return errors.New("still " + got)
		}
		return nil
	})
	same := start(t, func(o *Options) {
		onRedis(env)(o)
		o.IPv6Prefix = 0 // all bits
	})
	if got := get(t, "http://"+same.server.HTTPAddr()+"/readyz").body; got != "ready\n" {
		t.Errorf("/readyz says %q", got)
	}
}
