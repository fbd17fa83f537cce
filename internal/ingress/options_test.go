package ingress

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func TestWrongOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Options){
		"no store given":                   func(o *Options) { o.RedisURL = "" },
		"--timeout":                        func(o *Options) { o.Timeout = 0 },
		"--ipv6-prefix 129":                func(o *Options) { o.IPv6Prefix = 129 },
		"--ipv4-ranges [24 32]":            func(o *Options) { o.IPv4Ranges = []int{24, 32} },
		"--ipv6-ranges [1 2 3 4 5 6 7 8":   func(o *Options) { o.IPv6Ranges = []int{1, 2, 3, 4, 5, 6, 7, 8} },
		"--mirror: needs --redis-url":      func(o *Options) { o.RedisURL, o.PostgresURL, o.Mirror = "", "postgres://u@h/d", true },
		"--status-code 200":                func(o *Options) { o.StatusCode = 200 },
		"--trusted-proxy-count 1: needs":   func(o *Options) { o.TrustedProxyCount = 1 },
		"--user-header":                    func(o *Options) { o.UserHeader = "X User" },
		"--trusted-proxies: ":              func(o *Options) { o.TrustedProxies = []string{"proxy"} },
		"--fail-closed-paths \"(a)\\\\1\"": func(o *Options) { o.FailClosedPaths = []string{`(a)\1`} }, // nothing that would backtrack
		"--fail-closed-paths \"(?!a)\"":    func(o *Options) { o.FailClosedPaths = []string{"(?!a)"} },
		"--fail-closed-paths \"(\"":        func(o *Options) { o.FailClosedPaths = []string{"("} },
		"--redis-url: ":                    func(o *Options) { o.RedisURL = "http://u:hunter2@h" },
		"--postgres-url: ":                 func(o *Options) { o.PostgresURL = "postgres://u:hunter2@h:x/d" },
		"--postgres-table: ":               func(o *Options) { o.PostgresURL, o.PostgresTable = "postgres://u:hunter2@h/d", "a.b.c" },
		"--publish: needs --redis-url":     func(o *Options) { o.RedisURL, o.PostgresURL, o.Publish = "", "postgres://h/d", true },
		"--publish-stream: ":               func(o *Options) { o.Publish, o.PublishStream = true, nil },
		"--publish-buffer 0: ":             func(o *Options) { o.PublishBuffer = 0 },
		"--events-stream: needs":           func(o *Options) { o.RedisURL, o.PostgresURL, o.EventsStream = "", "postgres://h/d", "e" },
		"--events-stdout: ":                func(o *Options) { o.EventsStdout = true },
		"--addr: ":                         func(o *Options) { o.Addr = "127.0.0.1:99999" },
		"--http-addr: ":                    func(o *Options) { o.HTTPAddr = "nowhere" },
		"--grpc-addr: ":                    func(o *Options) { o.GRPCAddr = "nowhere" },
		"--client-header":                  func(o *Options) { o.ClientHeader = "X Client" },
		"--socket-mode \"rw\"":             func(o *Options) { o.SocketMode = "rw" },
		"--socket-mode \"7777\"":           func(o *Options) { o.SocketMode = "7777" },
		"--max-connections 0":              func(o *Options) { o.MaxConnections = 0 },
		"give both or neither":             func(o *Options) { o.TLSCert = "a" },
		"--tls-client-ca: needs":           func(o *Options) { o.TLSClientCA = "a" },
		"--tls-cert a, --tls-key b: ":      func(o *Options) { o.TLSCert, o.TLSKey = "a", "b" },
		"no client could be checked":       func(o *Options) { o.Addr = "unix:/nowhere/x.sock" },
		"--addr: listen unix":              func(o *Options) { o.Addr, o.TrustUnix = "unix:/nowhere/x.sock", true },
		"--trust-unix: needs":              func(o *Options) { o.TrustUnix = true },
		"--proxy-protocol: needs":          func(o *Options) { o.ProxyProtocol = true },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			o := DefaultOptions()
			o.RedisURL, o.Addr = "redis://127.0.0.1:1", "127.0.0.1:0"
			change(&o)
			s, err := New(t.Context(), o, discard())
			if err == nil {
				s.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("error %q, want one with %q", err, want)
			}
		})
	}
}

func TestSplitPatterns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"^/pay": {"^/pay"}, "^/pay,^/admin": {"^/pay", "^/admin"}, " a , b ,, ": {"a", "b"}, "^/a{1,2}$,b": {"^/a{1,2}$", "b"},
		`a\,b,c`: {`a\,b`, "c"}, "[,],(x,y),z": {"[,]", "(x,y)", "z"}, "": {}, `a\`: {`a\`}, "a),b": {"a)", "b"},
	} {
		if got := Patterns(nil).Split(text); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("Split(%q) = %q, want %q", text, got, want)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
