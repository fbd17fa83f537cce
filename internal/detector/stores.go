package detector

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/postgresurl"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/schema"
)

// Stores are the connections that worker and commands need.
type Stores struct {
	Clients consumer.Clients
	Pool    *pgxpool.Pool // nil: no Postgres
	Blocks  *tiered.Blocks
	durable *pgstore.Blocks
	cfg     *config.Config
}

// OpenStores makes the connections that the configuration names. It doesn't
// connect yet.
func OpenStores(ctx context.Context, cfg *config.Config) (*Stores, error) {
	return openStores(ctx, cfg, nil)
}

// openStores is OpenStores, with durable for the permanent tier unless it is nil.
func openStores(ctx context.Context, cfg *config.Config, durable tiered.Durable) (*Stores, error) {
	s := &Stores{cfg: cfg}
	if err := s.open(ctx, durable); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stores) open(ctx context.Context, durable tiered.Durable) (err error) {
	tls, err := s.cfg.Redis.TLSConfig()
	if err != nil {
		return fmt.Errorf("read certificates: %w", err)
	}
	s.Clients, err = consumer.Connect(string(s.cfg.Redis.URL), consumer.ConnectOptions{
		Streams: len(s.cfg.Stream.Names) * s.cfg.Stream.Loops, Block: s.cfg.Stream.Block, TLS: tls, ClientName: "wardstream-detector",
	})
	if err != nil {
		return fmt.Errorf("redis.url: %w", err)
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

func (s *Stores) openPostgres(ctx context.Context) error {
	pool, err := postgresurl.Parse(string(s.cfg.Postgres.URL))
	if err != nil {
		return fmt.Errorf("postgres.url: %w", err)
	}
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = connectTimeout
	}
	if s.Pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return fmt.Errorf("postgres.url: %w", postgresurl.ErrSyntax)
	}
	if s.durable, err = pgstore.New(s.Pool, pgstore.Options{Table: s.cfg.Postgres.Table}); err != nil {
		return fmt.Errorf("postgres.table: %w", err)
	}
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

// connectTimeout bounds looking at a store.
const connectTimeout = 5 * time.Second

// Check reports, in one line that says what to do, what keeps a worker from
// working with the stores: Redis can't be reached or is too old, Postgres lacks its table.
func (s *Stores) Check(ctx context.Context) error {
	if _, err := s.CheckRedis(ctx); err != nil {
		return err
	}
	if s.Pool == nil {
		return nil
	}
	return s.CheckPostgres(ctx)
}

// The oldest Redis that has what we use: XAUTOCLAIM, and SET with PXAT.
const (
	redisMajor = 6
	redisMinor = 2
)

var (
	errOldRedis   = errors.New("is too old; 6.2 or later is needed")
	errMigrations = errors.New("the database lacks migrations; run detector migrate")
	errNoTable    = errors.New("postgres.table: no such table; correct the name")
)

// CheckRedis is the part of [Stores.Check] about Redis. It returns its version.
func (s *Stores) CheckRedis(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	version, err = RedisVersion(ctx, s.Clients.Ops)
	if errors.Is(err, ErrClusterNode) {
		return version, fmt.Errorf("Redis at %s %w", s.cfg.Redis.URL, err)
	}
	if err != nil {
		return "", fmt.Errorf("Redis at %s %s: %w", s.cfg.Redis.URL, redisTrouble(err), err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("Redis at %s tells no version: %q", s.cfg.Redis.URL, version)
	}
	if major < redisMajor || major == redisMajor && minor < redisMinor {
		return version, fmt.Errorf("Redis %s at %s %w", version, s.cfg.Redis.URL, errOldRedis)
	}
	return version, nil
}

// redisTrouble says what is the matter with a server that doesn't answer as it should, and
// what to do.
func redisTrouble(err error) string {
	for _, known := range []struct{ code, trouble string }{
		{"WRONGPASS", "refuses the login; correct user and password in redis.url"},
		{"NOAUTH", "wants a login; write redis://user:password@host into redis.url"},
		{"AUTH", "wants no password; take it out of redis.url"},
		{"NOPERM", "denies its user a command; detector check lists what is needed"},
		{"LOADING", "is still loading its data; start again once it has"},
	} {
		if redis.HasErrorPrefix(err, known.code) {
			return known.trouble
		}
	}
	return "can't be reached; start it or correct redis.url"
}

// ErrClusterNode is in the chain of the error that says that a plain client can't work with a node of a Cluster.
var ErrClusterNode = errors.New("is a node of a Redis Cluster; write redis+cluster://host1,host2 into redis.url")

// A Server is what a server says of itself.
type Server struct {
	Product string // Redis, Valkey, KeyDB, Dragonfly or Upstash
	Version string // the product's own
	Redis   string // the Redis that it is compatible with
	Mode    string // standalone, cluster or sentinel
}

// String names the product and its version.
func (s Server) String() string { return strings.TrimSpace(s.Product + " " + s.Version) }

// ReadServer reads what INFO says about the server.
func ReadServer(info string) Server {
	said := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			said[name] = value
		}
	}
	s := Server{Product: "Redis", Redis: said["redis_version"], Mode: cmp.Or(said["redis_mode"], said["server_mode"])}
	s.Version = s.Redis
	switch name := strings.ToLower(said["server_name"] + said["executable"]); {
	case said["valkey_version"] != "":
		s.Product, s.Version = "Valkey", said["valkey_version"]
	case said["dragonfly_version"] != "":
		s.Product, s.Version = "Dragonfly", strings.TrimPrefix(strings.TrimPrefix(said["dragonfly_version"], "df-"), "v")
	case said["upstash_version"] != "":
		s.Product, s.Version = "Upstash", said["upstash_version"]
	case strings.Contains(name, "keydb"):
		s.Product = "KeyDB"
	}
	return s
}

// RedisVersion asks the server for the version of Redis that it is compatible with.
func RedisVersion(ctx context.Context, client redis.UniversalClient) (string, error) {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("ask for its version: %w", err)
	}
	server := ReadServer(info)
	if _, cluster := client.(*redis.ClusterClient); server.Mode == "cluster" && !cluster {
		return server.Redis, ErrClusterNode
	}
	return server.Redis, nil
}

// CheckPostgres is the part of [Stores.Check] about Postgres. It must not be
// called where there is none.
func (s *Stores) CheckPostgres(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	db := stdlib.OpenDBFromPool(s.Pool)
	defer db.Close()
	pending, err := s.pending(ctx, db)
	if err != nil {
		return fmt.Errorf("Postgres at %s %s: %w", s.cfg.Postgres.URL, postgresTrouble(err), err)
	}
	if len(pending) > 0 {
		return fmt.Errorf("Postgres at %s: %w (%d pending)", s.cfg.Postgres.URL, errMigrations, len(pending))
	}
	err = s.durable.Check(ctx)
	if errors.Is(err, pgstore.ErrNoTable) {
		return fmt.Errorf("%w: %s", errNoTable, s.cfg.Postgres.Table)
	}
	if err != nil {
		return fmt.Errorf("Postgres at %s: %w", s.cfg.Postgres.URL, err)
	}
	return nil
}

// postgresTrouble is redisTrouble for Postgres.
func postgresTrouble(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return "can't be reached; start it or correct postgres.url"
	}
	advice := postgresurl.Refused(err, "postgres.url")
	switch pg.Code {
	case "28000", "28P01":
		return "refuses the login; " + advice
	case "3D000":
		return "has no such database; create it or correct postgres.url"
	case "57P03":
		return "is starting or stopping; start again once it takes connections"
	}
	if advice != "" {
		return "refuses; " + advice
	}
	return "refuses"
}

// pending are the migrations that are due. Another software's table is not
// ours to migrate.
func (s *Stores) pending(ctx context.Context, db *sql.DB) ([]string, error) {
	if s.cfg.Postgres.Table != pgstore.DefaultTable {
		return nil, s.Pool.Ping(ctx)
	}
	return schema.Pending(ctx, db)
}

var (
	errNoPostgres   = errors.New("postgres.url is not set, so there is nothing to migrate; set it, or WARDSTREAM_POSTGRES_URL")
	errForeignTable = errors.New("only " + pgstore.DefaultTable + " is ours to make; leave postgres.table out, " +
		"and name another schema by the search_path of postgres.url (?options=-csearch_path%3Dname)")
)

// Migrate brings the database up to date and returns what it applied.
func (s *Stores) Migrate(ctx context.Context) ([]string, error) {
	switch {
	case s.Pool == nil:
		return nil, errNoPostgres
	case s.cfg.Postgres.Table != pgstore.DefaultTable:
		return nil, fmt.Errorf("postgres.table is %s: %w", s.cfg.Postgres.Table, errForeignTable)
	}
	db := stdlib.OpenDBFromPool(s.Pool)
	defer db.Close()
	applied, err := schema.Migrate(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("Postgres at %s %s: %w", s.cfg.Postgres.URL, postgresTrouble(err), err)
	}
	return applied, nil
}
