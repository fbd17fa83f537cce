// Command ingress-check answers proxies, and operators on the command line, whether a client is
// blocked.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/ingresscli"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = ""

func main() {
	logging.Disable() // go-redis prints every failed dial; failures are reported by us
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	app := cli.App{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Version: version}
	code := ingresscli.Main(ctx, app)
	stop()
	os.Exit(code)
}
