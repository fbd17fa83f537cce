package detectorcli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/detector"
)

// unfinished is the error of a worker that stopped before everything was finished.
type unfinished struct{ cause error }

func (u unfinished) Error() string {
	return "stopped before everything was finished; entries in flight will be delivered again: " + u.cause.Error()
}

func (u unfinished) Unwrap() error { return u.cause }

// ExitCode is that of a negative answer: the worker ran.
func (unfinished) ExitCode() int { return cli.ExitNegative }

func (a app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the worker (the default)",
		Long: `Reads the streams, runs the rules and writes blocks, until SIGTERM or SIGINT: then the batch in
flight is finished and acked. A second signal stops at once, which loses nothing: what was in
flight is delivered again.

Enforcement events go to standard output, one JSON object a line, logs to standard error. The
exit code is 0 after a stop in good order, 1 if something could not be finished (or was not to be,
after a second signal), 2 if the worker could not start or its HTTP server failed.`,
		Example: `  detector run --config detector.yaml
  detector run --redis-url redis://localhost:6379/0 --mode observe --log-format text`,
		Args: a.NoArgs,
	}
	a.complete(cmd)
	return a.configured(cmd, allSettings(), func(ctx context.Context, cfg *config.Config, _ []string) error {
		return a.run(ctx, cfg)
	})
}

func (a app) run(ctx context.Context, cfg *config.Config) error {
	// The reader of the events may go away: that sink fails then, and the worker continues.
	signal.Ignore(syscall.SIGPIPE)
	log := cli.NewLogger(a.Stderr, cfg.Log.Level, cfg.Log.Format)
	defer ignoreHangups(ctx, log)()
	d, err := detector.New(ctx, cfg, detector.Options{Stdout: a.Stdout, Logger: log, Getenv: a.Getenv, Version: a.Build().Version})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "detector started", "version", a.Build().Version, "http_addr", d.Addr(), "configuration", cfg)
	for _, warning := range cfg.Warnings {
		log.WarnContext(ctx, "the configuration is worth a second look", "warning", warning)
	}
	defer context.AfterFunc(ctx, func() {
		log.InfoContext(ctx, "stopping; a second signal stops at once", "grace", cfg.Shutdown.Grace.String())
	})()
	err = d.Run(ctx, a.kill)
	switch {
	case errors.Is(err, detector.ErrServer):
		return err
	case err != nil:
		return unfinished{err}
	}
	log.InfoContext(ctx, "stopped")
	return nil
}

// ignoreHangups keeps SIGHUP from ending the process, and says so each time. The function it
// returns ends that.
func ignoreHangups(ctx context.Context, log *slog.Logger) (stop func()) {
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hangups:
				log.InfoContext(ctx, "SIGHUP is ignored: there is nothing to read again while the worker runs; restart it for a new configuration")
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
	}
}
