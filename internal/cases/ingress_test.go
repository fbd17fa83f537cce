package cases

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/ingresscli"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// askIngress starts ingress-check as its flags say, sends each request and compares the status.
func (c *testCase) askIngress(t *testing.T, report report) {
	t.Helper()
	env := testenv.Redis(t)
	for _, text := range c.Blocks {
		block(t, env, text)
	}
	flags := append([]string{
		"serve", "--addr=127.0.0.1:0", "--redis-url=" + env.URL, "--key-prefix=" + env.Prefix, "--timeout=5s",
	}, c.Ingress.Flags...)
	proxied := slices.ContainsFunc(c.Ingress.Requests, func(r request) bool { return !loopback(r.Peer) })
	if proxied {
		flags = append(flags, "--proxy-protocol", "--trusted-proxies=127.0.0.0/8")
	}
	addr := serve(t, flags)
	for i, r := range c.Ingress.Requests {
		if got := r.send(t, addr, proxied); got != r.Status {
			report("request %d, %s %s from %q with %q: status %d, want %d", i+1, r.Method, r.Path, r.Peer, r.Headers, got, r.Status)
		}
	}
}

// block writes a block of a scope, as detectors do.
func block(t *testing.T, env *testenv.RedisEnv, text string) {
	t.Helper()
	typ, value, _ := strings.Cut(text, ":")
	b := checker.Block{
		Scope: checker.Scope{Type: typ, Value: value}, Rule: "case", StatusCode: 429, Message: "blocked",
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	raw, err := wire.EncodeBlock(b)
	if err == nil {
		err = env.Client.Do(t.Context(), "SET", rediskey.Keys{Prefix: env.Prefix}.Block(b.Scope), raw, "EX", 3600).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// serve runs ingress-check in this process, as its command does, and returns its address.
func serve(t *testing.T, args []string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := &announced{addr: make(chan string, 1)}
	ended := make(chan int, 1)
	app := cli.App{Args: args, Stdout: &buffer{}, Stderr: log}
	go func() { ended <- ingresscli.Main(ctx, app) }()
	t.Cleanup(cancel)
	select {
	case addr := <-log.addr:
		t.Cleanup(func() {
			cancel()
			if code := <-ended; code != 0 {
				t.Errorf("ingress-check ended with %d: %s", code, log.String())
			}
		})
		return addr
	case code := <-ended:
		t.Fatalf("ingress-check ended with %d: %s", code, log.String())
	case <-time.After(patience):
		t.Fatalf("ingress-check does not listen: %s", log.String())
	}
	return ""
}

// announced is a log that says where the server listens.
type announced struct {
	buffer
	once sync.Once
	addr chan string
}

// Write implements io.Writer.
func (a *announced) Write(p []byte) (int, error) {
	var line struct{ Msg, Addr string }
	if json.Unmarshal(p, &line) == nil && line.Msg == "listening" {
		a.once.Do(func() { a.addr <- line.Addr })
	}
	return a.buffer.Write(p)
}

func loopback(peer string) bool {
	if peer == "" {
		return true
	}
	addr, err := netip.ParseAddr(peer)
	return err == nil && addr.IsLoopback() && addr.Is4()
}

// send sends the request, byte for byte as it is written, and returns the status of the answer.
func (r *request) send(t *testing.T, addr string, proxied bool) int {
	t.Helper()
	peer := r.Peer
	if peer == "" {
		peer = "127.0.0.1"
	}
	dialer := net.Dialer{Timeout: patience}
	if loopback(peer) {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(peer)}
	}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var text strings.Builder
	if proxied {
		text.WriteString(proxyHeader(t, peer))
	}
	method, path := r.Method, r.Path
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		path = "/"
	}
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: ingress\r\nConnection: close\r\n", method, path)
	for i := 0; i < len(r.Headers); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", r.Headers[i], r.Headers[i+1])
	}
	text.WriteString("\r\n")
	if _, err := conn.Write([]byte(text.String())); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(line, " ")
	status, err := strconv.Atoi(strings.TrimSpace(rest)[:3])
	if err != nil {
		t.Fatalf("answer %q: %v", line, err)
	}
	return status
}

// proxyHeader is the PROXY protocol's first line, version 1.
func proxyHeader(t *testing.T, peer string) string {
	t.Helper()
	addr, err := netip.ParseAddr(peer)
	switch {
	case err != nil:
		t.Fatalf("peer: %v", err)
	case addr.Is4():
		return fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 40000 80\r\n", addr)
	}
	return fmt.Sprintf("PROXY TCP6 %s ::1 40000 80\r\n", addr)
}
