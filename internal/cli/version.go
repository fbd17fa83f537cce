package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// VersionCommand returns the command that prints version, commit and Go version.
func (a App) VersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "version",
		Short:             "Print version, commit and Go version",
		Example:           fmt.Sprintf("  %s version\n  %s version --output json", a.Name, a.Name),
		Args:              a.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	output := OutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := a.Build()
		return a.Print(*output, b, func(w io.Writer) {
			commit := ""
			if b.Commit != "" {
				commit = " (" + b.Commit + ")"
			}
			_, _ = fmt.Fprintf(w, "%s %s%s %s %s\n", a.Name, b.Version, commit, b.Go, b.Platform)
		})
	}
	return cmd
}

// A BuildInfo describes the binary.
type BuildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // with "+" if there were changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Build returns what is known of the binary: the version that the linker was given, else the one
// that the go command found.
func (a App) Build() BuildInfo {
	b := BuildInfo{Version: a.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	if b.Commit != "" {
		b.Commit += modified
	}
	return b
}
