package detectorcli

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/demo"
)

const demoDuration = duration(20 * time.Second)

func (a app) demoCommand() *cobra.Command {
	o := demo.Options{}
	length, quiet, verbose := demoDuration, false, false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch attackers being caught: needs no Redis, no Postgres, no configuration",
		Long: `Starts everything in this process (Redis, a worker with all built-in rules, ingress-check) and has
five visitors and four attackers meet a small shop: a password brute-forcer, a scanner collecting
404s, a crawler enumerating ids and an insider changing sensitive fields. It shows them being found,
blocked and then denied at ingress, and what became of each of them.

The exit code is 0 if every attacker was blocked and no visitor was, else 1. Ctrl-C ends it early.`,
		Example: "  detector demo\n  detector demo --duration 1m --seed 7\n  detector demo --output json",
		Args:    a.NoArgs,
	}
	f := cmd.Flags()
	f.Var(&length, "duration", "how long it takes; it is played faster if that is less than 20s")
	f.Uint64Var(&o.Seed, "seed", 1, "who comes and what they do")
	f.BoolVar(&quiet, "quiet", false, "print the summary alone")
	output := cli.OutputFlag(cmd)
	f.BoolVar(&verbose, "verbose", false, "show the logs of worker and ingress-check on standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.Duration, o.Output = time.Duration(length), a.demoOutput(*output, verbose)
		o.Output.Quiet = quiet
		ok, err := demo.Run(cmd.Context(), o)
		if err == nil && !ok {
			return cli.ErrNegative // the summary says why
		}
		return err
	}
	return cmd
}

func (a app) devCommand() *cobra.Command {
	o := demo.DevOptions{}
	var file string
	verbose := false
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in this process, to try it with an application of your own",
		Long: `Starts Redis, a worker and ingress-check in this process and keeps them up until Ctrl-C, showing
enforcement events as they come. Publish your application's events to it and ask it about your
clients. Everything is kept in memory and gone at the end.

It runs all built-in rules, or what --config says except where Redis and Postgres are.`,
		Example: "  detector dev\n  detector dev --config detector.yaml --redis-addr 127.0.0.1:7000",
		Args:    a.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "YAML file with rules and actions of your own")
	f.StringVar(&o.RedisAddr, "redis-addr", "", "address of Redis (default: "+demo.DefaultRedisAddr+", or a free port if that is taken)")
	f.StringVar(&o.IngressAddr, "ingress-addr", "", "address of ingress-check (default: "+demo.DefaultIngressAddr+", or a free port if that is taken)")
	output := cli.OutputFlag(cmd)
	f.BoolVar(&verbose, "verbose", false, "show the logs of worker and ingress-check on standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if file != "" {
			if o.Config, err = config.Load(file, config.Options{Environ: a.Environ}); err != nil {
				return err
			}
		}
		o.Output = a.demoOutput(*output, verbose)
		return demo.Dev(cmd.Context(), o)
	}
	return cmd
}

func (a app) demoOutput(f cli.Format, verbose bool) demo.Output {
	log := slog.New(slog.DiscardHandler)
	if verbose {
		log = cli.NewLogger(a.Stderr, "info", string(cli.TextFormat))
	}
	return demo.Output{Stdout: a.Stdout, Getenv: a.Getenv, JSON: f == cli.JSONFormat, Log: log, Version: a.Build().Version}
}
