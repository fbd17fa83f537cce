package ingress

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	settingsEvery   = 5 * time.Second
	settingsTimeout = 500 * time.Millisecond
)

// settings are what the detectors publish for ingress: which clients never to deny, and how many
// bits of an IPv6 address they count by. What was read last holds while Redis is away.
type settings struct {
	client     redis.UniversalClient
	key        string
	ipv6Prefix int // ours
	log        *slog.Logger

	allowlist atomic.Pointer[checker.Allowlist]
	conflict  atomic.Pointer[string] // nil: none
	trouble   limiter
}

func newSettings(client redis.UniversalClient, o *Options, log *slog.Logger) *settings {
	keys := rediskey.Keys{Prefix: o.KeyPrefix}
	if keys.Prefix == "" {
		keys.Prefix = rediskey.DefaultPrefix
	}
	s := &settings{client: client, key: keys.Settings(), ipv6Prefix: o.IPv6Prefix, log: log, trouble: limiter{every: time.Minute}}
	if s.ipv6Prefix == 0 {
		s.ipv6Prefix = 128
	}
	return s
}

// exempts reports whether the detectors' allowlist keeps b from denying subject.
func (s *settings) exempts(subject *checker.Subject, b *checker.Block) bool {
	return s.allowlist.Load().Exempts(subject, b)
}

// read asks for the settings: one MGET of one key. Detectors of before write none.
func (s *settings) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settingsTimeout)
	defer cancel()
	var asked redis.Cmdable = s.client
	if cluster, ok := s.client.(*redis.ClusterClient); ok { // which would ask for COMMAND first, a right that we need not have
		master, err := cluster.MasterForKey(ctx, s.key)
		if err != nil {
			return fmt.Errorf("read the detectors' settings: %w", err)
		}
		asked = master
	}
	values, err := asked.MGet(ctx, s.key).Result()
	if err != nil {
		return fmt.Errorf("read the detectors' settings: %w", err)
	}
	raw, ok := values[0].(string)
	if !ok {
		return nil
	}
	theirs, err := wire.DecodeSettings(raw)
	if err != nil {
		return err
	}
	list, err := checker.ParseAllowlist(theirs.Allowlist)
	if err != nil {
		return err
	}
	s.allowlist.Store(list)
	if theirs.IPv6Prefix == s.ipv6Prefix || theirs.IPv6Prefix == 0 {
		s.conflict.Store(nil)
		return nil
	}
	text := fmt.Sprintf("ipv6_prefix is %d here and %d in the detectors: blocks of IPv6 clients are not found; set both to the same", s.ipv6Prefix, theirs.IPv6Prefix)
	s.conflict.Store(&text)
	return nil
}

// follow reads the settings now and then until ctx ends, and logs what is wrong with them once a
// minute.
func (s *settings) follow(ctx context.Context) {
	ticks := time.NewTicker(settingsEvery)
	defer ticks.Stop()
	for {
		err := s.read(ctx)
		conflict := s.conflict.Load()
		if (err != nil || conflict != nil) && ctx.Err() == nil {
			s.complain(ctx, err, conflict)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (s *settings) complain(ctx context.Context, err error, conflict *string) {
	left, due := s.trouble.pass(time.Now())
	switch {
	case !due:
	case err != nil:
		s.log.WarnContext(ctx, "the detectors' settings are not known: their allowlist may not hold here", "error", err, "left_out", left)
	default:
		s.log.ErrorContext(ctx, "the detectors' settings conflict with ours", "conflict", *conflict, "left_out", left)
	}
}
