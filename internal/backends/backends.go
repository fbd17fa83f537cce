// Package backends opens, checks and migrates the Redis and the Postgres that the
// configuration names.
package backends

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/tiered"
)

// connectTimeout bounds connecting to a backend and checking it.
const connectTimeout = 5 * time.Second

// Stores are the connections of one process to Redis and Postgres, and the block store over them.
type Stores struct {
	Clients consumer.Clients
	Pool    *pgxpool.Pool // nil: no Postgres
	Blocks  *tiered.Blocks
	durable *pgstore.Blocks
	cfg     *config.Config
}

// Open prepares the connections that the configuration names. It does not connect yet.
func Open(ctx context.Context, cfg *config.Config) (*Stores, error) {
	return OpenWithDurable(ctx, cfg, nil)
}

// OpenWithDurable is Open, with durable as the permanent tier if the configuration names
// no Postgres. nil leaves permanent blocks to Redis.
func OpenWithDurable(ctx context.Context, cfg *config.Config, durable store.Durable) (*Stores, error) {
	s := &Stores{cfg: cfg}
	if err := s.open(ctx, durable); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stores) open(ctx context.Context, durable store.Durable) error {
	if err := s.openRedis(); err != nil {
		return err
	}
	cache, err := redisstore.NewBlocks(s.Clients.Ops, redisstore.BlockOptions{
		Prefix: s.cfg.KeyPrefix, PermanentTTL: s.cfg.Blocks.PermanentCacheTTL,
	})
	if err != nil {
		return fmt.Errorf("key_prefix: %w", err)
	}
	if s.cfg.Postgres.URL == "" {
		s.Blocks = tiered.New(cache, durable, tiered.Options{})
		return nil
	}
	if err := s.openPostgres(ctx); err != nil {
		return err
	}
	s.Blocks = tiered.New(cache, s.durable, tiered.Options{TemporaryToo: s.cfg.Blocks.TempBlocksInPostgres})
	return nil
}

// Close closes all connections.
func (s *Stores) Close() {
	if s.Clients.Ops != nil {
		_ = s.Clients.Close()
	}
	if s.Pool != nil {
		s.Pool.Close()
	}
}

// Check returns an error, in one line that says what to do, if a worker could not work with
// the stores: Redis cannot be reached or is too old, or Postgres lacks its table.
func (s *Stores) Check(ctx context.Context) error {
	if _, err := s.CheckRedis(ctx); err != nil {
		return err
	}
	if s.Pool == nil {
		return nil
	}
	return s.CheckPostgres(ctx)
}
