// Package doctest runs the commands of the documentation: every block
// of shell in README.md and docs, as written, against a real Redis and a real
// Postgres; and it reads every block of configuration.
package doctest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const root = "../.."

// elsewhere are commands that are not run here, and where they are.
var elsewhere = map[string]string{
	"make test":      "is what runs this test",
	"make docker":    "needs a Docker engine; deploy/docker_test.go runs the build lines of the Dockerfiles",
	"kubectl":        "needs a cluster; deploy/manifests_test.go renders and validates the manifests",
	"make bench\n":   "internal/bench runs at a small size in every test run",
	"git clone":      "the working tree is what is tested",
	"go run ./cmd/d": "internal/demo runs it, and reads what it prints",
}

// running are the pages whose commands expect a detector at work.
var running = []string{"docs/how-to/operations.md", "docs/how-to/troubleshooting.md", "docs/reference/events.md", "docs/reference/enforcement-events.md", "docs/reference/dead-letters.md"}

// A block is a fenced block of a page.
type block struct {
	language, text string
	line           int
}

var fence = regexp.MustCompile("^( *)```([a-z]*)$")

func blocks(t *testing.T, page string) []block {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	var open *block
	indent := ""
	for i, line := range strings.Split(string(raw), "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && open == nil:
			open, indent = &block{language: m[2], line: i + 2}, m[1]
		case m != nil:
			out, open = append(out, *open), nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open != nil {
		t.Errorf("%s:%d: a block is not closed", page, open.line)
	}
	return out
}

func pages(t *testing.T) []string {
	t.Helper()
	list := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			rel, _ := filepath.Rel(root, path)
			list = append(list, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestShell(t *testing.T) {
	t.Parallel()
	bin := build(t)
	ran := 0
	for _, page := range pages(t) {
		script := ""
		for _, b := range blocks(t, page) {
			if b.language == "sh" {
				script += runnable(t, page, b)
			}
		}
		if script == "" {
			continue
		}
		ran++
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			run(t, bin, page, script)
		})
	}
	if ran < 4 {
		t.Fatalf("only %d pages have commands", ran)
	}
}

// runnable is the part of a block that is run here.
func runnable(t *testing.T, page string, b block) string {
	t.Helper()
	for command, why := range elsewhere {
		if strings.Contains(b.text, command) {
			t.Logf("%s:%d is not run here: %q %s", page, b.line, strings.TrimSpace(command), why)
			return ""
		}
	}
	return fmt.Sprintf("echo '+ %s:%d'\n%s", page, b.line, b.text)
}

// build builds the programs once, as make build does.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "./cmd/...")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

const prelude = `set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT # a page may have started nothing
make() { echo "make $*"; } # the binaries are there
redis-cli() { command redis-cli -p "${TEST_REDIS_PORT:-0}" "$@"; }
gives() { # CODE COMMAND…: the exit code comes about
  local want=$1 got; shift
  for _ in $(seq 200); do got=0; "$@" || got=$?; [ "$got" = "$want" ] && return; sleep 0.1; done
  echo "exit code $got, want $want: $*"; return 1
}
`

// worker starts a detector with something to show for: a client that is
// blocked and an entry that is dead.
const worker = `
export WARDSTREAM_HTTP_ADDR=127.0.0.1:$TEST_HTTP_PORT
cp detector.example.yaml detector.yaml
./bin/detector migrate
./bin/detector run &
gives 0 curl -fsS "http://127.0.0.1:$TEST_HTTP_PORT/readyz"
for i in 1 2 3 4 5; do redis-cli XADD audit:events '*' event_type auth.login.failed source.address 203.0.113.9 user.name eve; done
gives 0 ./bin/detector blocks ip 203.0.113.9
./bin/detector block user 42
redis-cli XADD audit:events '*' no type
`

var code = regexp.MustCompile(`(?m)^(.*?) +# exit code (\d+).*$`)

func run(t *testing.T, bin, page, script string) {
	redis, postgres := testenv.PrivateRedis(t), testenv.Postgres(t)
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(root, "detector.example.yaml"), filepath.Join(dir, "detector.example.yaml"))
	_, port, _ := strings.Cut(redis.Addr, ":")
	http := freePort(t)
	if page == tutorial {
		linkModule(t, dir)
	}
	for _, p := range running {
		if p == page {
			script = worker + script
		}
	}
	script = code.ReplaceAllString(script, "gives $2 $1")
	script = strings.NewReplacer(
		"redis://localhost:6379/0", redis.URL,
		"postgres://postgres@localhost:5432/postgres", quoted(t, postgres.URL),
		"127.0.0.1:9090", "127.0.0.1:"+http, "127.0.0.1:6379", "127.0.0.1:"+freePort(t),
		"127.0.0.1:8080", "127.0.0.1:"+freePort(t), "127.0.0.1:8000", "127.0.0.1:"+freePort(t),
	).Replace(script)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", prelude+script)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	if page != tutorial { // its reader has no stores
		cmd.Env = append(cmd.Env,
			"TEST_REDIS_PORT="+port, "TEST_HTTP_PORT="+http, "WARDSTREAM_HTTP_ADDR=127.0.0.1:"+http,
			"WARDSTREAM_REDIS_URL="+redis.URL, "WARDSTREAM_POSTGRES_URL="+postgres.URL)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", page, err, tail(out.String()))
	}
}

// tutorial is the page whose reader compiles a program of their own.
const tutorial = "docs/tutorial/first-block.md"

// linkModule makes dir look like the checkout to the go command, with room for a package of the
// reader's.
func linkModule(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"go.mod", "go.sum", "internal", "pkg", "schema"} {
		from, err := filepath.Abs(filepath.Join(root, name))
		if err == nil {
			err = os.Symlink(from, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

func quoted(t *testing.T, raw string) string {
	t.Helper()
	if _, err := url.Parse(raw); err != nil {
		t.Fatal(err)
	}
	return "'" + raw + "'"
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestConfigurationBlocks reads every block of YAML that is a detector's
// configuration, or a part of one.
func TestConfigurationBlocks(t *testing.T) {
	t.Parallel()
	read := 0
	for _, page := range []string{"README.md", "docs/reference/rules.md", "docs/reference/selections.md", "docs/how-to/operations.md", "docs/how-to/troubleshooting.md", "docs/reference/enforcement-events.md"} {
		for _, b := range blocks(t, page) {
			if b.language != "yaml" {
				continue
			}
			text := b.text
			if !strings.HasPrefix(text, "rules:\n") { // a part: it speaks of rules that are configured elsewhere
				text += "rules: [{name: brute_force_login}, {name: login_throttle}]\n"
			}
			if _, err := config.Parse(page, []byte(text), config.Options{Hostname: "h", Environ: []string{"WEBHOOK_SECRET=0123456789abcdef"}}); err != nil {
				t.Errorf("%s:%d: %v", page, b.line, err)
			}
			read++
		}
	}
	if read == 0 {
		t.Fatal("no configuration was read")
	}
}
