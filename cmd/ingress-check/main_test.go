package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// binary is the program under test, as TestMain built it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(testenv.MainWithPrograms(m, func(dir string) { binary = filepath.Join(dir, "ingress-check") }, "."))
}

const attacker, visitor = "203.0.113.9", "198.51.100.7"

// blockedIn blocks the attacker for a minute.
func blockedIn(t *testing.T, env *testenv.RedisEnv) {
	t.Helper()
	scope, _ := checker.NewScope(checker.ScopeIP, attacker)
	raw, err := wire.EncodeBlock(checker.Block{Scope: scope, Message: "slow down", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute)})
	if err == nil {
		err = env.Client.Set(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Block(scope), raw, time.Minute).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A daemon is a running ingress-check serve.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
	done chan error // what Wait returned
}

// serve starts ingress-check and waits until it says where it listens.
func serve(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: exec.Command(binary, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...), done: make(chan error, 1)}
	d.cmd.Env = append(os.Environ(), env...)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	var seen []string
	for d.addr == "" && lines.Scan() {
		var entry struct{ Msg, Addr string }
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Errorf("log line %q is not JSON", lines.Text())
		}
		if entry.Msg == "listening" {
			d.addr = entry.Addr
		}
		seen = append(seen, lines.Text())
	}
	if d.addr == "" {
		t.Fatalf("it doesn't listen: %q", seen)
	}
	go func() {
		_, _ = io.Copy(io.Discard, stderr)
		d.done <- d.cmd.Wait()
	}()
	return d
}

// A response is an answer, read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

func (d *daemon) ask(path, client string) response {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "http://"+d.addr+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", client)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return response{res.StatusCode, res.Header, string(raw)}
}

func (d *daemon) signal(sig os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	blockedIn(t, env)
	file := filepath.Join(t.TempDir(), "ingress-check.yaml")
	if err := os.WriteFile(file, []byte("trusted_proxies: [127.0.0.1]\nkey_prefix: "+env.Prefix+"\ntimeout: 5s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := serve(t, []string{"WARDSTREAM_REDIS_URL=" + env.URL}, "--config", file)
	if res := d.ask("/", visitor); res.status/100 != 2 {
		t.Errorf("allowed: %d", res.status)
	}
	res := d.ask("/traefik", attacker)
	if res.status != 429 || res.body != "slow down" || res.header.Get("Retry-After") == "" {
		t.Errorf("blocked: %d %q %v", res.status, res.body, res.header)
	}
	res = d.ask("/nginx", attacker)
	if res.status != 403 || res.header.Get("X-Error-Status") != "429" || res.header.Get("X-Error-Body") != "slow down" || res.header.Get("Retry-After") == "" {
		t.Errorf("blocked, nginx: %d %v", res.status, res.header)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if res := d.ask(path, attacker); res.status != 200 {
			t.Errorf("%s: %d", path, res.status)
		}
	}
	d.signal(syscall.SIGTERM)
	if err := <-d.done; err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// TestSIGHUPReloadsCertificates: SIGHUP ends nothing; certificates are read again at once, and
// without any there is nothing to do.
func TestSIGHUPReloadsCertificates(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	blockedIn(t, env)
	d := serve(t, nil, "--redis-url", env.URL, "--key-prefix", env.Prefix, "--trusted-proxies", "127.0.0.1", "--timeout", "5s")
	for range 3 {
		d.signal(syscall.SIGHUP)
		if res := d.ask("/", attacker); res.status != 429 {
			t.Errorf("after SIGHUP: %d", res.status)
		}
	}
	d.signal(syscall.SIGTERM)
	if err := <-d.done; err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// TestSecondSignalStopsAtOnce: the first waits for the request under way, the second doesn't.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 16)
	d := serve(t, nil, "--redis-url", "redis://"+silentRedis(t, asked)+"?read_timeout=1h", "--timeout", "1h", "--grace", "1h")
	<-asked // at start
	go func() {
		if res, err := http.Get("http://" + d.addr + "/"); err == nil { //nolint:noctx // ends with the process
			_ = res.Body.Close()
		}
	}()
	<-asked
	d.signal(syscall.SIGTERM)
	testenv.Eventually(t, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			return nil //nolint:nilerr // it has stopped listening, as it should
		}
		_ = conn.Close()
		return errors.New("it still listens")
	})
	select {
	case err := <-d.done:
		t.Fatalf("ended with a request under way: %v", err)
	default:
	}
	d.signal(syscall.SIGTERM)
	var exit *exec.ExitError
	if err := <-d.done; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("after the second signal: %v", err)
	}
}

// silentRedis is a server that never answers and reports each request.
func silentRedis(t *testing.T, asked chan<- struct{}) string {
	t.Helper()
	return testenv.Listen(t, func(conn net.Conn) {
		buf := make([]byte, 4096)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			asked <- struct{}{}
		}
	})
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	blockedIn(t, env)
	at := "--redis-url " + env.URL + " --key-prefix " + env.Prefix
	for args, want := range map[string]int{
		"check --ip " + visitor + " " + at: 0, "check --ip " + attacker + " " + at: 1, "check --ip " + attacker + " --redis-url redis://127.0.0.1:1": 2,
		"check " + at: 2, "version": 0, "nonsense": 2, "serve": 2, "serve --redis-url http://x": 2,
	} {
		var stdout, stderr bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, binary, strings.Fields(args)...)
		cmd.Env = []string{}
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run()
		cancel()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%s: exit %d, want %d; %s", args, code, want, stderr.String())
		}
		if lines := strings.Count(stderr.String(), "\n"); (want == 2) != (lines == 1) || lines > 1 {
			t.Errorf("%s: stderr %q, want a line for errors only", args, stderr.String())
		}
		if out := stdout.String(); (want < 2) != (strings.Count(out, "\n") == 1) {
			t.Errorf("%s: stdout %q", args, out)
		}
	}
}
