package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a App) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit and Go version",
		Example: "  detector version\n  detector version --output json",
		Args:    noArgs,
	}
	output := a.outputFlag(cmd)
	a.complete(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := a.build()
		return a.print(*output, v, func(w io.Writer) {
			commit := ""
			if v.Commit != "" {
				commit = " (" + v.Commit + ")"
			}
			_, _ = fmt.Fprintf(w, "detector %s%s %s %s\n", v.Version, commit, v.Go, v.Platform)
		})
	}
	return cmd
}

// A buildInfo is what is known of the binary.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // with "+" if there were changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version is what the linker was told, else what the go command found.
func (a App) version() string { return a.build().Version }

func (a App) build() buildInfo {
	v := buildInfo{Version: a.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	if v.Commit != "" {
		v.Commit += modified
	}
	return v
}
