package detectorcli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/backends"
	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// A setting is a flag that sets a key of the configuration.
type setting struct {
	flag, key, usage string
	values           []string // that a shell offers
}

// allSettings are the flags that set a key. A command has those that it reads.
func allSettings() []setting {
	return []setting{
		{"redis-url", "redis.url", "Redis with streams, windows and blocks (environment: WARDSTREAM_REDIS_URL)", nil},
		{"postgres-url", "postgres.url", "Postgres with permanent blocks (environment: WARDSTREAM_POSTGRES_URL)", nil},
		{"key-prefix", "key_prefix", "start of every Redis key", nil},
		{"mode", "mode", "enforce, or observe to alert instead of blocking", []string{"enforce", "observe"}},
		{"streams", "stream.names", "streams to read, comma-separated", nil},
		{"group", "stream.group", "consumer group", nil},
		{"consumer", "stream.consumer", "this process's own name in the group (default: the host's name)", nil},
		{"http-addr", "http.addr", `address of /metrics, /healthz and /readyz; "" is none`, nil},
		{"log-level", "log.level", "debug, info, warn or error", []string{"debug", "info", "warn", "error"}},
		{"log-format", "log.format", "json or text", []string{"json", "text"}},
	}
}

// pick returns the settings of these flags.
func pick(flags ...string) []setting {
	return slices.DeleteFunc(allSettings(), func(s setting) bool { return !slices.Contains(flags, s.flag) })
}

// blockSettings are what commands about blocks read.
func blockSettings() []setting { return pick("redis-url", "postgres-url", "key-prefix") }

// letterSettings are what commands about dead letters read.
func letterSettings() []setting { return pick("redis-url", "streams") }

// configured makes a command of what it does with a configuration. It gets --config and the flags
// of the settings that it reads.
func (a app) configured(cmd *cobra.Command, reads []setting, do func(ctx context.Context, cfg *config.Config, args []string) error) *cobra.Command {
	flags := cmd.Flags()
	flags.String("config", "", "YAML file of the configuration (default: "+config.DefaultFile+", if it is there)")
	cli.MarkGlobal(flags, "config")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that is not there
	for _, s := range reads {
		flags.String(s.flag, "", s.usage)
		cli.MarkGlobal(flags, s.flag)
		a.completeFlag(cmd, s.flag, words(s.values...))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := a.load(flags)
		if err != nil {
			return err
		}
		return do(cmd.Context(), cfg, args)
	}
	return cmd
}

// load reads the configuration that the flags name; what the command line says comes first.
func (a app) load(flags *pflag.FlagSet) (*config.Config, error) {
	o := config.Options{Environ: a.Environ}
	for _, s := range allSettings() {
		if given := flags.Lookup(s.flag); given != nil && given.Changed {
			o.Flags = append(o.Flags, strictconfig.Flag{Name: "--" + s.flag, Key: s.key, Value: given.Value.String()})
		}
	}
	return config.Load(config.Locate(flags.Lookup("config").Value.String()), o)
}

// How long a command may take whose stores are silent: about one scope, and about all.
const (
	commandTimeout = time.Minute
	listTimeout    = 10 * time.Minute
)

// withOperator is withStores for what blocks and unblocks by hand.
func (a app) withOperator(ctx context.Context, cfg *config.Config, do func(ctx context.Context, o *operator.Operator) error) error {
	return withStores(ctx, cfg, commandTimeout, func(ctx context.Context, s *backends.Stores) error {
		o, err := operator.New(ctx, cfg, s, a.Build().Version)
		if err != nil {
			return err
		}
		return errors.Join(do(ctx, o), o.Close(ctx))
	})
}

// withReader is withStores for what reads blocks.
func withReader(ctx context.Context, cfg *config.Config, timeout time.Duration, do func(ctx context.Context, r operator.Reader) error) error {
	return withStores(ctx, cfg, timeout, func(ctx context.Context, s *backends.Stores) error {
		return do(ctx, operator.Reader{Blocks: s.Blocks, Scopes: operator.ScopesOf(cfg)})
	})
}

// withStores opens the stores, makes sure that Redis answers, and calls do, which ends after the
// timeout.
func withStores(ctx context.Context, cfg *config.Config, timeout time.Duration, do func(ctx context.Context, s *backends.Stores) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := backends.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.CheckRedis(ctx); err != nil {
		return err
	}
	return do(ctx, s)
}
