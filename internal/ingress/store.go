package ingress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/postgresurl"
	"github.com/wardstream/wardstream/internal/redisconn"
	"github.com/wardstream/wardstream/internal/redisurl"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/mirror"
	"github.com/wardstream/wardstream/pkg/checker/pglookup"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// connectTimeout bounds connecting to Postgres where its URL says nothing.
const connectTimeout = 2 * time.Second

const (
	postgresPart = "Postgres"
	askAgain     = 500 * time.Millisecond
)

var (
	errNeverAnswered = errors.New("has never answered; correct --postgres-url, or start it")
	errCutOff        = errors.New("Redis is a replica that is cut off from its primary: its blocks are stale; let --redis-url lead to the primary")
)

// A store is where blocks are looked up: Redis, Postgres, or Redis with Postgres
// for when the membership hash is cold.
type store struct {
	lookup   checker.Lookup
	mirror   *mirror.Mirror // nil: Redis or Postgres is asked each time
	parts    []part
	close    []func()
	unproven atomic.Pointer[part] // Postgres, as long as it has never answered: its URL may be one that can't work
	// settings are the detectors'; nil: without Redis they are not known.
	settings *settings
	watch    *redisconn.Watch // of the Redis server; nil: Cluster, Sentinel or none
}

// A part of a store is asked by itself when ingress-check starts.
type part struct {
	name   string
	lookup checker.Lookup
}

// openStore makes the look-ups. Nothing is connected yet.
func openStore(ctx context.Context, o *Options, log *slog.Logger) (*store, error) {
	s := &store{}
	if err := s.open(ctx, o, log); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *store) open(ctx context.Context, o *Options, log *slog.Logger) error {
	var cold checker.Lookup
	if o.PostgresURL != "" {
		pg, err := s.openPostgres(ctx, o)
		if err != nil {
			return err
		}
		s.lookup, cold = pg, pg
	}
	if o.RedisURL == "" {
		return nil
	}
	client, err := connectRedis(o)
	if err != nil {
		return err
	}
	s.close = append(s.close, func() { _ = client.Close() })
	s.settings, s.watch = newSettings(client, o, log), redisconn.NewWatch(client, log)
	opts := []redislookup.Option{redislookup.WithKeyPrefix(o.KeyPrefix)}
	if o.PermanentTier {
		opts = append(opts, redislookup.WithPermanentTier())
	}
	s.parts = append(s.parts, part{"Redis", redislookup.New(client, opts...)})
	if cold != nil {
		opts = append(opts, redislookup.WithColdLookup(cold))
	}
	if o.Mirror {
		s.mirror = openMirror(client, o, cold, log)
		s.lookup = s.mirror
		return nil
	}
	s.lookup = redislookup.New(client, opts...)
	return nil
}

func connectRedis(o *Options) (redis.UniversalClient, error) {
	tls, err := redisurl.TLS(o.RedisTLS).Config(o.RedisURL)
	var wrong *redisurl.TLSError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("--redis-%s: %s", cmp.Or(strings.ReplaceAll(wrong.Part, "_", "-"), "ca-file, --redis-cert-file, --redis-server-name"), wrong.Reason)
	}
	client, err := redislookup.Connect(o.RedisURL, func(ro *redis.UniversalOptions) {
		if tls != nil {
			ro.TLSConfig = tls
		}
	})
	if err != nil {
		return nil, fmt.Errorf("--redis-url: is not a Redis URL; %s", redisurl.Advice) // err may hold pieces of it
	}
	return client, nil
}

func (s *store) openPostgres(ctx context.Context, o *Options) (*pglookup.Lookup, error) {
	config, err := postgresurl.Parse(o.PostgresURL)
	if err != nil {
		return nil, fmt.Errorf("--postgres-url: %w", err)
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if config.MinIdleConns == 0 {
		config.MinIdleConns = 1 // so that a request needn't wait for a connection
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("--postgres-url: %w", err)
	}
	s.close = append(s.close, pool.Close)
	lookup, err := pglookup.New(pool, pglookup.WithTable(o.PostgresTable))
	if err != nil {
		return nil, fmt.Errorf("--postgres-table: %w", err)
	}
	s.parts = append(s.parts, part{postgresPart, lookup})
	return lookup, nil
}

// exempt returns the options that keep the detectors' allowlist from being denied.
func (s *store) exempt() []checker.Option {
	if s.settings == nil {
		return nil
	}
	return []checker.Option{checker.WithExempt(s.settings.exempts)}
}

// Close closes what openStore opened, last first.
func (s *store) Close() {
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i]()
	}
	s.close = nil
}

// probe asks every part of the store once. An answer that no waiting will change
// is refused; what may pass, an outage, is passed to warn, since the fail mode is there for it.
func (s *store) probe(ctx context.Context, warn func(name string, err error)) error {
	for _, p := range s.parts {
		err := p.ask(ctx)
		if err == nil || errors.Is(err, redislookup.ErrCold) && len(s.parts) > 1 {
			continue
		}
		if hint := refusal(err); hint != "" {
			return fmt.Errorf("ask %s: %s: %w", p.name, hint, err)
		}
		if p.name == postgresPart {
			s.unproven.Store(&p)
		}
		warn(p.name, err)
	}
	return nil
}

func (p part) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	_, err := p.lookup.Lookup(ctx, []checker.Scope{{Type: checker.ScopeIP, Value: "0.0.0.0"}})
	return err
}

// waitForAnswer asks the part that has never answered until it does, or ctx ends.
func (s *store) waitForAnswer(ctx context.Context, log *slog.Logger) {
	p := s.unproven.Load()
	if p == nil {
		return
	}
	complain := &limiter{every: time.Minute}
	for ticker := time.NewTicker(askAgain); ; {
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
		err := p.ask(ctx)
		if err == nil {
			ticker.Stop()
			s.unproven.Store(nil)
			log.Info("store answers for the first time", "store", p.name)
			return
		}
		if _, due := complain.pass(time.Now()); due && ctx.Err() == nil {
			log.Error("store has never answered; not ready until it does", "store", p.name, "error", err, "advice", refusal(err))
		}
	}
}

// ready says what keeps the store from having worked once, or makes its answers stale; nil if
// nothing does. Later outages don't count.
func (s *store) ready() error {
	if server, ok := s.watch.Server(); ok && server.CutOff {
		return errCutOff
	}
	if p := s.unproven.Load(); p != nil {
		return fmt.Errorf("%s %w", p.name, errNeverAnswered)
	}
	return nil
}

// refusal returns what to do about an answer that means wrong configuration, and
// "" for any other error.
func refusal(err error) string {
	for _, prefix := range []string{"WRONGPASS", "NOAUTH", "NOPERM"} {
		if redis.HasErrorPrefix(err, prefix) {
			return "give user and password in --redis-url, and let them read the block keys"
		}
	}
	if advice := postgresurl.Refused(err, "--postgres-url"); advice != "" {
		return advice
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return ""
	}
	switch {
	case pgErr.Code == "42501":
		return "let the user of --postgres-url read the table"
	case pgErr.Code == "42P01", pgErr.Code == "42703":
		return "run detector migrate, or name the table with --postgres-table"
	}
	return ""
}
