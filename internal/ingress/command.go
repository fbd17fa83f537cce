package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wardstream/wardstream/internal/wire"
)

// Exit codes of the commands.
const (
	exitOK      = 0
	exitBlocked = 1
	exitError   = 2
)

// An App is what the commands get from outside.
type App struct {
	Args           []string // without the program's name
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Version        string // "": the module's
}

// Main runs the command that the arguments name, until it is done or ctx ends, and
// returns the exit code: 0, 1 for a negative answer, 2 for an error, which is then said in
// one line on Stderr (one for each mistake of a configuration).
func (a App) Main(ctx context.Context) int {
	root := &cobra.Command{
		Use:   "ingress-check",
		Short: "Asks Wardstream whether a client is blocked, for proxies and on the command line",
		Args:  noArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(a.Args)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetUsageFunc(usage)
	root.SetFlagErrorFunc(wrongFlag)
	root.AddCommand(a.serveCommand(), a.checkCommand(), a.versionCommand())
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errBlocked):
		return exitBlocked
	}
	var all mistakes
	if !errors.As(err, &all) {
		all = mistakes{err}
	}
	for _, mistake := range all {
		_, _ = fmt.Fprintf(a.Stderr, "ingress-check: %s\n", strings.Join(strings.Fields(mistake.Error()), " "))
	}
	return exitError
}

func (a App) serveCommand() *cobra.Command {
	o := DefaultOptions()
	flags := o.flags()
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer forward-auth requests of nginx, Traefik, Caddy, HAProxy and Envoy",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := configure(flags, file, a.Getenv); err != nil {
				return err
			}
			log, err := logger(a.Stderr, o.LogFormat)
			if err != nil {
				return err
			}
			o.Stdout = a.Stdout
			hangups := make(chan os.Signal, 1) // from now on: it would end the process
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			s, err := New(cmd.Context(), o, log)
			if err != nil {
				return err
			}
			go onHangup(cmd.Context(), hangups, s.Reload)
			return s.Run(cmd.Context())
		},
	}
	cmd.Flags().AddFlagSet(flags)
	cmd.Flags().StringVar(&file, "config", "", "YAML file of these options")
	markGlobal(cmd.Flags())
	return cmd
}

// onHangup calls reload for each SIGHUP until ctx ends.
func onHangup(ctx context.Context, hangups <-chan os.Signal, reload func()) {
	for {
		select {
		case <-hangups:
			reload()
		case <-ctx.Done():
			return
		}
	}
}

func logger(w io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(wire.PrintableWriter(w), nil)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, nil)), nil
	}
	return nil, fmt.Errorf("--log-format %q: must be json or text", format)
}

func (a App) versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			text := fmt.Sprintf("ingress-check %s %s %s/%s", a.version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			if output == "json" {
				text = fmt.Sprintf(`{"version":%q,"go":%q,"os":%q,"arch":%q}`, a.version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			}
			if _, err := fmt.Fprintln(a.Stdout, text); err != nil {
				return fmt.Errorf("print version: %w", err)
			}
			return nil
		},
	}
	outputFlag(cmd.Flags(), &output)
	return cmd
}

// version is what the build gave, else the module's, which the go command stamps
// from the tag or commit.
func (a App) version() string {
	if a.Version != "" {
		return a.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
