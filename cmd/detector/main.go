// Command detector reads audit events, runs rules over them and writes blocks.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/redis/go-redis/v9/logging"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/detectorcli"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = ""

func main() {
	logging.Disable() // go-redis prints every failed dial; failures are reported by us
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the live heap is small: fewer collections for a few MiB more
	}
	ctx, kill := signalContexts()
	app := cli.App{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Version: version}
	os.Exit(detectorcli.Main(ctx, kill, app))
}

// signalContexts returns a context that the first SIGTERM or SIGINT ends, and one that the
// second does. A third ends the process, as it would any other.
func signalContexts() (ctx, kill context.Context) {
	ctx, stop := context.WithCancel(context.Background())
	kill, stopAtOnce := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		<-signals
		stopAtOnce()
		signal.Stop(signals)
	}()
	return ctx, kill
}
