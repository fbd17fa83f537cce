package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/detector"
)

// overrides are the flags that set a key of the configuration.
func overrides() []struct{ name, key, usage string } {
	return []struct{ name, key, usage string }{
		{"redis-url", "redis.url", "Redis with streams, windows and blocks (environment: WARDSTREAM_REDIS_URL)"},
		{"postgres-url", "postgres.url", "Postgres with permanent blocks (environment: WARDSTREAM_POSTGRES_URL)"},
		{"key-prefix", "key_prefix", "start of every Redis key"},
		{"mode", "mode", "enforce, or observe to alert instead of blocking"},
		{"streams", "stream.names", "streams to read, comma-separated"},
		{"group", "stream.group", "consumer group"},
		{"consumer", "stream.consumer", "this process's own name in the group (default: the host's name)"},
		{"http-addr", "http.addr", `address of /metrics, /healthz and /readyz; "" is none`},
		{"log-level", "log.level", "debug, info, warn or error"},
		{"log-format", "log.format", "json or text"},
	}
}

// settings are where a command's configuration comes from.
type settings struct {
	file  string
	flags *pflag.FlagSet
}

func newSettings(flags *pflag.FlagSet) *settings {
	s := &settings{flags: flags}
	flags.StringVar(&s.file, "config", "", "YAML file of the configuration (default: "+config.DefaultFile+", if it is there)")
	for _, o := range overrides() {
		flags.String(o.name, "", o.usage)
		markGlobal(flags, o.name)
	}
	markGlobal(flags, "config")
	return s
}

// load reads the configuration; what the command line says comes first.
func (s *settings) load(environ []string) (*config.Config, error) {
	o := config.Options{Environ: environ}
	for _, f := range overrides() {
		if given := s.flags.Lookup(f.name); given.Changed {
			o.Flags = append(o.Flags, config.Flag{Name: "--" + f.name, Key: f.key, Value: given.Value.String()})
		}
	}
	return config.Load(config.Locate(s.file), o)
}

// configured makes a command of what it does with a configuration.
func (a App) configured(cmd *cobra.Command, do func(ctx context.Context, cfg *config.Config, args []string) error) *cobra.Command {
	s := newSettings(cmd.Flags())
	a.completeGlobal(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := s.load(a.Environ)
		if err != nil {
			return err
		}
		return do(cmd.Context(), cfg, args)
	}
	return cmd
}

// How long a command may take whose stores are silent: about one scope, and about all.
const (
	commandTimeout = time.Minute
	listTimeout    = 10 * time.Minute
)

// withOperator is withStores for what blocks and unblocks by hand.
func (a App) withOperator(ctx context.Context, cfg *config.Config, do func(ctx context.Context, s *detector.Stores, o *detector.Operator) error) error {
	return withStores(ctx, cfg, commandTimeout, func(ctx context.Context, s *detector.Stores) error {
		o, err := detector.NewOperator(ctx, cfg, s, a.version())
		if err != nil {
			return err
		}
		return errors.Join(do(ctx, s, o), o.Close(ctx))
	})
}

// withStores calls do with the stores, after a look at whether Redis is there, and ends it after the
// timeout.
func withStores(ctx context.Context, cfg *config.Config, timeout time.Duration, do func(ctx context.Context, s *detector.Stores) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := detector.OpenStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.CheckRedis(ctx); err != nil {
		return err
	}
	return do(ctx, s)
}
