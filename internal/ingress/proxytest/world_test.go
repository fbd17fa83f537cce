//go:build proxies

// Package proxytest runs the configurations of docs/how-to/ingress on the real proxies, in front of
// a small application, with a real ingress-check and a real Redis. make test-proxies has what it
// needs.
package proxytest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const root = "../../.."

// The proxies ask from 127.0.0.1; clients have addresses of their own.
const visitor, attacker, exile = "127.0.0.77", "127.0.0.66", "127.0.0.88"

// binary is the program under test, as TestMain built it.
var binary string

func TestMain(m *testing.M) {
	built := func(dir string) { binary = filepath.Join(dir, "ingress-check") }
	os.Exit(testenv.MainWithPrograms(m, built, root+"/cmd/ingress-check"))
}

// A world is what a proxy stands in: an application behind it, and an ingress-check that it asks.
type world struct {
	t       *testing.T
	redis   *testenv.PrivateRedisEnv
	app     string // host:port
	served  *atomic.Int64
	ingress string // host:port
	kill    func() // ends ingress-check
	strict  bool   // proxies keep the page's time limits
}

// limits makes time limits of a page long, since the machine may be busy, unless it is them that
// are looked at.
func (w *world) limits(config string) string {
	if w.strict {
		return config
	}
	return strings.NewReplacer("100ms", "5s", "250ms", "10s", "timeout = 1000", "timeout = 20000").Replace(config)
}

// newWorld makes a world in which attacker is blocked for a minute and exile for good, and paths
// below /pay are closed if that can't be known.
func newWorld(t *testing.T, flags []string) *world {
	t.Helper()
	w := &world{t: t, redis: testenv.PrivateRedis(t), served: &atomic.Int64{}}
	w.serveApp()
	keys := rediskey.Keys{Prefix: w.redis.Prefix}
	temporary, err := wire.EncodeBlock(checker.Block{
		Scope: checker.Scope{Type: "ip", Value: attacker}, StatusCode: 429, Message: "slow down", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	})
	if err == nil {
		err = w.redis.Client.Set(t.Context(), keys.Block(checker.Scope{Type: "ip", Value: attacker}), temporary, time.Hour).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	permanent, err := wire.EncodeMember(checker.Block{Scope: checker.Scope{Type: "ip", Value: exile}, StatusCode: 403, Message: "go away", CreatedAt: time.Now()})
	if err == nil {
		err = w.redis.Client.HSet(t.Context(), keys.Permanent(), rediskey.MemberField(checker.Scope{Type: "ip", Value: exile}), permanent).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.serve(flags...)
	return w
}

// serveApp starts the application.
func (w *world) serveApp() {
	app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.served.Add(1)
		rw.Header().Set("Connection", "close") // it waits for no body
		_, _ = fmt.Fprintf(rw, "app: %s", r.URL.Path)
	}))
	w.t.Cleanup(app.Close)
	w.app = strings.TrimPrefix(app.URL, "http://")
}

// command returns the flags with which a page starts ingress-check; networks of proxies become
// 127.0.0.1.
func command(t *testing.T, page, language string) []string {
	t.Helper()
	m := regexp.MustCompile(`(?m)ingress-check serve([^#&\n]*)`).FindStringSubmatch(strings.Join(blocks(t, page, language), ""))
	if m == nil {
		t.Fatalf("%s doesn't say how to start ingress-check", page)
	}
	flags := regexp.MustCompile(`--addr \S+`).ReplaceAllString(m[1], "")
	return strings.Fields(strings.ReplaceAll(flags, "10.0.0.0/8", "127.0.0.1"))
}

// serve starts ingress-check with a page's flags and waits until it listens.
func (w *world) serve(flags ...string) {
	w.t.Helper()
	cmd := exec.Command(binary, append([]string{
		"serve", "--addr", "127.0.0.1:0", "--redis-url", w.redis.URL, "--key-prefix", w.redis.Prefix,
		"--fail-closed-paths", "^/pay(/|$)", "--timeout", "2s", "--message", "not now",
	}, flags...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	w.t.Cleanup(func() { w.kill() })
	lines := bufio.NewScanner(stderr)
	for w.ingress == "" && lines.Scan() {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "listening" {
			w.ingress = entry.Addr
		}
	}
	if w.ingress == "" {
		w.t.Fatal("ingress-check doesn't listen")
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
}

// run starts a proxy and waits until it answers at addr. Its output is shown if the test fails.
func (w *world) run(addr string, name string, args ...string) {
	w.t.Helper()
	dir := w.t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		<-ended
		if text, err := os.ReadFile(out.Name()); err == nil && w.t.Failed() {
			w.t.Logf("%s said:\n%s", name, text)
		}
	})
	testenv.Eventually(w.t, 30*time.Second, func() error {
		select {
		case err := <-ended:
			ended <- err
			text, _ := os.ReadFile(out.Name())
			w.t.Fatalf("%s ended: %v\n%s", name, err, text)
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// program finds an installed proxy.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("%s is not installed: make test-proxies installs it on Debian, elsewhere install it yourself", name)
	return ""
}

// freeAddr finds an address whose port is outside the range that outgoing connections use: clients
// of these tests have many, and Caddy listens on every address.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			_ = l.Close()
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatal("no free port between 20000 and 32000")
	return ""
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// blocks returns a page's blocks of a language, those within lists included.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)\n *```").FindAllStringSubmatch(string(raw), -1) {
		out = append(out, m[1]+"\n")
	}
	return out
}

// only checks that a page has n blocks of a language, so that none goes untested.
func only(t *testing.T, page, language string, n int) []string {
	t.Helper()
	all := blocks(t, page, language)
	if len(all) != n {
		t.Fatalf("%s has %d blocks of %s, and %d are tested", page, len(all), language, n)
	}
	return all
}

// replaced replaces pairs, each of which must be there.
func replaced(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for n := 0; n < len(pairs); n += 2 {
		if !strings.Contains(text, pairs[n]) {
			t.Fatalf("no %q in\n%s", pairs[n], text)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// A response is an answer, read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// ask sends a request from a client's address to addr, with header lines in pairs that go as they
// are.
func ask(t *testing.T, from, addr, path string, header ...string) response {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		r.Header[header[n]] = append(r.Header[header[n]], header[n+1])
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res.StatusCode, res.Header, strings.TrimSpace(string(raw))}
}
