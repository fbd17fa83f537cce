package detectorcli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/testenv"
)

// demoMain runs the detector's command line until it ends or ctx does.
func demoMain(ctx context.Context, stdout io.Writer, args ...string) (code int, stderr string) {
	var errs bytes.Buffer
	app := cli.App{Args: args, Stdout: stdout, Stderr: &errs, Environ: os.Environ(), Version: "v1.2.3"}
	code = Main(ctx, context.WithoutCancel(ctx), app)
	return code, errs.String()
}

func TestDemoExitCodes(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for line, tt := range map[string]struct {
		ctx            context.Context
		code           int
		stdout, stderr string
	}{
		"demo --duration 1s --quiet --seed 4":       {t.Context(), cli.ExitOK, "attackers blocked: 4 of 4\nvisitors denied: 0\n", ""},
		"demo --output json --quiet":                {ended, cli.ExitNegative, `"ok":false}`, ""},
		"demo --duration 10ms":                      {t.Context(), cli.ExitError, "", "detector: --duration 10ms: must be at least 1s\n"},
		"demo --duration soon":                      {t.Context(), cli.ExitError, "", "must be a duration such as"},
		"demo --output xml":                         {t.Context(), cli.ExitError, "", "must be text or json"},
		"demo --seed -1":                            {t.Context(), cli.ExitError, "", "detector: invalid argument"},
		"demo now":                                  {t.Context(), cli.ExitError, "", "detector: \"now\": demo takes no arguments; see detector demo --help\n"},
		"dev --config nowhere.yaml":                 {t.Context(), cli.ExitError, "", "detector: nowhere.yaml: there is no such file"},
		"dev --redis-addr " + taken.Addr().String(): {t.Context(), cli.ExitError, "", "detector: --redis-addr: listen tcp"},
	} {
		var out bytes.Buffer
		code, stderr := demoMain(tt.ctx, &out, strings.Fields(line)...)
		if code != tt.code || !strings.Contains(out.String(), tt.stdout) || !strings.Contains(stderr, tt.stderr) || (stderr == "") != (tt.stderr == "") {
			t.Errorf("%s: exit code %d, want %d\n%s\n%s", line, code, tt.code, out.String(), stderr)
		}
		if strings.Count(stderr, "\n") > 1 {
			t.Errorf("%s: more than a line of errors: %s", line, stderr)
		}
	}
}

// TestDevRunsUntilInterrupted: with rules of one's own, and logs where they were asked for.
func TestDevRunsUntilInterrupted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(file, []byte("rules: [{name: repeated_client_error}]\nhttp: {addr: \"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	var stdout, stderr lockedBuffer
	app := cli.App{
		Args:   []string{"dev", "--config", file, "--redis-addr", "127.0.0.1:0", "--ingress-addr", "127.0.0.1:0", "--verbose"},
		Stdout: &stdout, Stderr: &stderr, Environ: os.Environ(), Version: "v1.2.3",
	}
	done := make(chan int, 1)
	go func() { done <- Main(ctx, context.WithoutCancel(ctx), app) }()
	// The screen is printed before anything runs.
	testenv.Eventually(t, time.Minute, func() error {
		if !strings.Contains(stdout.String(), "curl -i ") || !strings.Contains(stderr.String(), "msg=listening") {
			return fmt.Errorf("not yet: %s\n%s", stdout.String(), stderr.String())
		}
		return nil
	})
	interrupt()
	if code := <-done; code != cli.ExitOK || !strings.Contains(stdout.String(), "rules          repeated_client_error\n") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout.String(), stderr.String())
	}
}

// A lockedBuffer may be written and read at once.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
