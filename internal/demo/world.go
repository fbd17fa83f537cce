package demo

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/sourcegraph/conc/pool"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/detector"
	"github.com/wardstream/wardstream/internal/ingress"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/wire"
)

//go:embed demo.yaml
var builtin []byte

// builtinConfig is what runs unless a file says otherwise.
func builtinConfig() (*config.Config, error) {
	cfg, err := config.Parse("the built-in configuration", builtin, config.Options{Hostname: "demo"})
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return cfg, nil
}

// The headers in which a proxy on this machine names whom it has authenticated.
const (
	userHeader     = "X-User-Id"
	usernameHeader = "X-User-Name"
	sessionHeader  = "X-Session-Id"
)

// A world is all of Wardstream in this process: Redis, a worker, and ingress-check
// in front of nothing. Permanent blocks are kept in memory.
type world struct {
	redis   *redisServer
	client  *redis.Client // as an application has it
	durable *memstore.Blocks
	worker  *detector.Detector
	ingress *ingress.Server
	cfg     *config.Config
}

// A place says where a world listens and to whom it logs.
type place struct {
	redisAddr, ingressAddr string
	log                    *slog.Logger
	version                string
}

// newWorld starts what listens; the rest waits for run. Where Redis and Postgres are
// in cfg is replaced.
func newWorld(ctx context.Context, cfg *config.Config, p place) (*world, error) {
	w := &world{cfg: cfg, durable: memstore.NewBlocks(time.Now)}
	if err := w.start(ctx, p); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) start(ctx context.Context, p place) (err error) {
	if w.redis, err = startRedis(p.redisAddr); err != nil {
		return err
	}
	w.cfg.Redis, w.cfg.Postgres.URL = config.Redis{URL: config.URL(w.redis.URL())}, ""
	w.client = redis.NewClient(&redis.Options{
		Addr: w.redis.Addr(), MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	if w.ingress, err = ingress.New(ctx, w.ingressOptions(p.ingressAddr), p.log); err != nil {
		return fmt.Errorf("start ingress-check: %w", err)
	}
	w.worker, err = detector.New(ctx, w.cfg, detector.Options{Logger: p.log, Version: p.version, Embedded: true, Durable: w.durable})
	if err != nil {
		return fmt.Errorf("start detector: %w", err)
	}
	return nil
}

// ingressOptions have ingress-check read what the worker writes, and believe
// proxies on this machine.
func (w *world) ingressOptions(addr string) ingress.Options {
	o := ingress.DefaultOptions()
	o.Addr, o.RedisURL, o.KeyPrefix = addr, w.redis.URL(), w.cfg.KeyPrefix
	o.TrustedProxies = []string{"127.0.0.0/8", "::1/128"}
	o.UserHeader, o.UsernameHeader, o.SessionHeader = userHeader, usernameHeader, sessionHeader
	o.Timeout = time.Second // this machine may be busy, and no client waits
	o.IPv6Prefix, o.Precedence = w.cfg.IPv6Prefix, w.cfg.Blocks.Precedence
	o.StatusCode, o.Message = w.cfg.Blocks.StatusCode, w.cfg.Blocks.Message
	o.Grace = w.cfg.Shutdown.Grace
	return o
}

// run works until ctx ends or something fails. What it made known is in the
// streams when it returns.
func (w *world) run(ctx context.Context) error {
	parts := pool.New().WithContext(ctx).WithCancelOnError()
	parts.Go(func(ctx context.Context) error { return w.worker.Run(ctx, context.WithoutCancel(ctx)) })
	parts.Go(w.ingress.Run)
	return parts.Wait()
}

// close ends what listens. Call it after run.
func (w *world) close() {
	if w.ingress != nil {
		w.ingress.Close()
	}
	if w.client != nil {
		_ = w.client.Close()
	}
	if w.redis != nil {
		w.redis.Close()
	}
}

func (w *world) watcher() *watcher {
	return &watcher{client: w.client, stream: w.cfg.Events.Stream, keys: rediskey.Keys{Prefix: w.cfg.KeyPrefix}}
}

// obey lifts in memory what an operator's command lifted in Redis; that is all it can reach.
func (w *world) obey(ctx context.Context, s sighting) error {
	if s.Type != wire.TypeBlockRevoked {
		return nil
	}
	_, err := w.durable.Unblock(ctx, store.Revocation{Scope: s.Scope, By: s.RevokedBy, Reason: s.Reason, At: s.Time})
	if err != nil {
		return fmt.Errorf("lift permanent block: %w", err)
	}
	return nil
}

// publishLine is a shell line that has the worker block guestAddress: as many
// failed logins as brute_force_login wants, or one, where it isn't listed.
func (w *world) publishLine() string {
	host, port, _ := net.SplitHostPort(w.redis.Addr())
	at := "-p " + port
	if host != "127.0.0.1" {
		at = "-h " + host + " " + at
	}
	return fmt.Sprintf("for i in $(seq %d); do redis-cli %s XADD %s '*' event_type auth.login.failed source.address %s user.name eve; done",
		w.failures(), at, w.cfg.Stream.Names[0], guestAddress)
}

func (w *world) failures() int {
	for i := range w.cfg.Rules {
		if w.cfg.Rules[i].Name != "brute_force_login" {
			continue
		}
		for _, p := range w.cfg.Rules[i].Params() {
			if n, ok := p.Value.(int); ok && p.Key == "threshold" {
				return n
			}
		}
	}
	return 1
}

// askLine is a shell line that asks whether guestAddress may pass.
func (w *world) askLine() string {
	return fmt.Sprintf("curl -i -H 'X-Forwarded-For: %s' %s", guestAddress, w.door())
}

// door is where ingress-check is asked.
func (w *world) door() string { return "http://" + w.ingress.Addr() + "/" }

// metricsURL is where the worker's metrics are, "" if nowhere.
func (w *world) metricsURL() string {
	if w.worker.Addr() == "" {
		return ""
	}
	return "http://" + w.worker.Addr() + "/metrics"
}
