package deploy

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

const testVersion = "v0.0.0-test"

var binaries = []string{"detector", "ingress-check"}

// stages parses a Dockerfile as BuildKit does.
func stages(t *testing.T, binary string) []instructions.Stage {
	t.Helper()
	f, err := os.Open("docker/" + binary + ".Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("%s: %s", f.Name(), w.Short)
	}
	out, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDockerfiles(t *testing.T) {
	for _, binary := range binaries {
		t.Run(binary, func(t *testing.T) {
			all := stages(t, binary)
			last := all[len(all)-1]
			if last.BaseName != "scratch" {
				t.Errorf("the image is made from %s, not from nothing", last.BaseName)
			}
			var user, entrypoint, copied string
			for _, c := range last.Commands {
				switch c := c.(type) {
				case *instructions.UserCommand:
					user = c.User
				case *instructions.EntrypointCommand:
					entrypoint = strings.Join(c.CmdLine, " ")
				case *instructions.CopyCommand:
					copied += " " + c.DestPath
				}
			}
			if user != "65532:65532" {
				t.Errorf("the image's user is %q", user)
			}
			if entrypoint != "/"+binary || !strings.Contains(copied, entrypoint) {
				t.Errorf("the image starts %q and has%s", entrypoint, copied)
			}
			if !strings.Contains(copied, "/etc/ssl/certs/ca-certificates.crt") {
				t.Error("the image has no CA certificates")
			}
			if first := all[0].BaseName; !strings.HasPrefix(first, "golang:"+goVersion(t)+"-") {
				t.Errorf("built with %s, go.mod says %s", first, goVersion(t))
			}
		})
	}
}

// goVersion is go.mod's, without the patch.
func goVersion(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "go "); ok {
			return strings.Join(strings.SplitN(strings.TrimSpace(v), ".", 3)[:2], ".")
		}
	}
	t.Fatal("go.mod names no version of Go")
	return ""
}

// TestDockerfilesBuildRunnableImages runs the Dockerfiles' own build commands, with nothing but
// what .dockerignore lets through, and starts what comes out with the configurations of the
// manifests.
func TestDockerfilesBuildRunnableImages(t *testing.T) {
	source := buildContext(t)
	built := map[string]string{}
	for _, binary := range binaries {
		built[binary] = build(t, binary, source)
		if !static(t, built[binary]) {
			t.Errorf("%s is not static: it can't run in an empty image", binary)
		}
		out, err := exec.Command(built[binary], "version").CombinedOutput()
		if err != nil || !strings.Contains(string(out), testVersion) {
			t.Errorf("%s version: %v, %q does not name the version that was built", binary, err, out)
		}
	}
	forEachTree(t, func(t *testing.T, tr *tree) {
		out, err := exec.Command(built["detector"], "rules", "list", "--config", configFile(t, tr, "detector")).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "brute_force_login") {
			t.Errorf("the detector does not take its configuration: %v\n%s", err, out)
		}
		serve(t, built["ingress-check"], configFile(t, tr, "ingress-check"))
	})
}

func configFile(t *testing.T, tr *tree, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte(configText(t, tr, name)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serve starts ingress-check on free ports and without its store, which it must bear, waits until
// it listens and stops it.
func serve(t *testing.T, binary, config string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "serve", "--config", config,
		"--addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--redis-url", "redis://127.0.0.1:1/0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "listening") {
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already; Wait reports it
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "listening") {
		t.Errorf("ingress-check does not take its configuration: %v\n%s", err, log.String())
	}
}

// build runs the build stage's go build, with /out in a temporary folder, and returns the binary.
func build(t *testing.T, binary, source string) string {
	t.Helper()
	out := t.TempDir()
	var script string
	for _, c := range stages(t, binary)[0].Commands {
		if run, ok := c.(*instructions.RunCommand); ok && strings.Contains(strings.Join(run.CmdLine, " "), "go build") {
			script = strings.Join(run.CmdLine, " ")
		}
	}
	if !strings.Contains(script, "-o /out/"+binary) {
		t.Fatalf("the build command does not write /out/%s: %s", binary, script)
	}
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(script, "/out/", out+"/"))
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "VERSION="+testVersion, "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, text)
	}
	return filepath.Join(out, binary)
}

// buildContext copies what .dockerignore lets into a build.
func buildContext(t *testing.T) string {
	t.Helper()
	f, err := os.Open("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", path)
		if err != nil || d.IsDir() {
			if slices.Contains([]string{".git", ".bin", "bin"}, rel) {
				return filepath.SkipDir
			}
			return err
		}
		if skip, err := ignored.MatchesOrParentMatches(filepath.ToSlash(rel)); skip || err != nil {
			return err
		}
		return copyFile(path, filepath.Join(out, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// static reports whether a binary needs no dynamic loader.
func static(t *testing.T, binary string) bool {
	t.Helper()
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}
