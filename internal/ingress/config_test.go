package ingress

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/redisurl"
)

// load applies a file, an environment and a command line to the defaults.
func load(t *testing.T, file string, env map[string]string, args ...string) (Options, error) {
	t.Helper()
	o := DefaultOptions()
	flags := o.flags()
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	name := ""
	if file != "" {
		name = filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := configure(flags, name, func(key string) string { return env[key] })
	return o, err
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	t.Parallel()
	const file = "redis_url: redis://file\nkey_prefix: file\ntimeout: 10ms\n"
	env := map[string]string{"WARDSTREAM_REDIS_URL": "redis://env"}
	o, err := load(t, file, env, "--timeout", "20ms")
	if err != nil || o.RedisURL != "redis://env" || o.KeyPrefix != "file" || o.Timeout != 20*time.Millisecond || o.Addr != "127.0.0.1:8080" {
		t.Fatalf("options %+v, %v", o, err)
	}
	o, err = load(t, file, env, "--redis-url", "redis://flag")
	if err != nil || o.RedisURL != "redis://flag" || o.Timeout != 10*time.Millisecond {
		t.Fatalf("options %+v, %v", o, err)
	}
	if o, err = load(t, file, map[string]string{"WARDSTREAM_REDIS_URL": ""}); err != nil || o.RedisURL != "redis://file" {
		t.Fatalf("an empty variable: %+v, %v", o, err)
	}
	if o, err = load(t, "", map[string]string{"WARDSTREAM_POSTGRES_URL": "postgres://env"}); err != nil || o.PostgresURL != "postgres://env" || o.Timeout != 50*time.Millisecond {
		t.Fatalf("without a file: %+v, %v", o, err)
	}
}

// TestEveryFlagIsAKey: each flag is a key of the file, and the example has them all.
func TestEveryFlagIsAKey(t *testing.T) {
	t.Parallel()
	o, err := load(t, `
addr: "0.0.0.0:1"
grpc_addr: "unix:/run/i.sock"
http_addr: "127.0.0.1:2"
socket_mode: "0600"
max_connections: 7
tls_cert: a.crt
tls_key: a.key
tls_client_ca: ca.crt
redis-url: "redis://${HOST}:6379/0"
redis_ca_file: r-ca.crt
redis_cert_file: r.crt
redis_key_file: r.key
redis_server_name: r.test
postgres_url: "postgres://${NOBODY:-user}@h/d"
postgres_table: public.permanent_blocks
key_prefix: sec_audit
permanent_tier: true
mirror: true
trusted_proxies: [10.0.0.0/8, "2001:db8::/32"]
trusted-proxy-count: 2
client_header: Forwarded
trust_unix: true
allowlist: [192.0.2.7, "user:1"]
proxy_protocol: true
user_header: X-User
username_header: X-Name
session_header: X-Session
fail_closed_paths:
  - ^/pay(/|$)
  - ^/a{1,2}$$
timeout: 20ms
ipv6_prefix: 64
ipv4_ranges: [22]
ipv6_ranges: 56,48
precedence: [ip, user]
status_code: 403
message: >
  no entry
reason_headers: true
grace: 3s
publish: true
publish_stream: [a, b]
publish-buffer: 7
events_stdout: true
events_stream: e
log_format: text
`, map[string]string{"HOST": "r1"})
	want := Options{
		Addr: "0.0.0.0:1", GRPCAddr: "unix:/run/i.sock", SocketMode: "0600", MaxConnections: 7, TLSCert: "a.crt", TLSKey: "a.key", TLSClientCA: "ca.crt",
		ClientHeader: "Forwarded", TrustUnix: true, ProxyProtocol: true, ReasonHeaders: true, HTTPAddr: "127.0.0.1:2", RedisURL: "redis://r1:6379/0", PostgresURL: "postgres://user@h/d",
		RedisTLS:      redisurl.TLS{CAFile: "r-ca.crt", CertFile: "r.crt", KeyFile: "r.key", ServerName: "r.test"},
		PostgresTable: "public.permanent_blocks", KeyPrefix: "sec_audit", PermanentTier: true, Mirror: true, TrustedProxies: []string{"10.0.0.0/8", "2001:db8::/32"},
		TrustedProxyCount: 2, UserHeader: "X-User", UsernameHeader: "X-Name", SessionHeader: "X-Session",
		FailClosedPaths: []string{"^/pay(/|$)", "^/a{1,2}$"}, Timeout: 20 * time.Millisecond, IPv6Prefix: 64, IPv4Ranges: []int{22}, IPv6Ranges: []int{56, 48}, Precedence: []string{"ip", "user"},
		StatusCode: 403, Message: "no entry", Grace: 3 * time.Second, LogFormat: "text",
		Publish: true, PublishStream: []string{"a", "b"}, PublishBuffer: 7, EventsStdout: true, EventsStream: "e",
		Allowlist: []string{"192.0.2.7", "user:1"},
	}
	if err != nil || !reflect.DeepEqual(o, want) {
		t.Fatalf("options\n%+v, %v, want\n%+v", o, err, want)
	}
	if v := reflect.ValueOf(o); v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if v.Field(i).IsZero() && v.Type().Field(i).Name != "Stdout" { // no key sets that
				t.Errorf("the test sets no %s", v.Type().Field(i).Name)
			}
		}
	}
}

func TestExampleFile(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../ingress-check.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o, err := load(t, string(raw), map[string]string{"REDIS_PASSWORD": "p"})
	if err != nil {
		t.Fatal(err)
	}
	o.Stdout = io.Discard
	if err := o.checkServe(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.checkerOptions(); err != nil {
		t.Fatal(err)
	}
	flags := o.flags()
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(raw), strings.ReplaceAll(f.Name, "-", "_")+":") {
			t.Errorf("the example explains no %s", f.Name)
		}
	})
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, want string }{
		"unknown key":                       {"addr: \"a:1\"\nredis_ulr: x\n", `c.yaml:2: unknown key "redis_ulr"`},
		"config isn't a key":                {"config: x\n", `c.yaml:1: unknown key "config"`},
		"twice":                             {"addr: \"a:1\"\naddr: \"b:1\"\n", "c.yaml:2: "},
		"twice in two spellings":            {"key_prefix: a\nkey-prefix: b\n", `c.yaml:2: key "key-prefix" is there twice`},
		"number for text":                   {"key_prefix: 5\n", "c.yaml:1: key_prefix: must be text; put it in quotes"},
		"text for a number":                 {"\nipv6_prefix: \"64\"\n", "c.yaml:2: ipv6_prefix: must be a whole number"},
		"fraction for a number":             {"ipv6_prefix: 6.5\n", "c.yaml:1: ipv6_prefix: must be a whole number"},
		"text for a boolean":                {"permanent_tier: \"yes\"\n", "c.yaml:1: permanent_tier: must be true or false"},
		"duration without unit":             {"timeout: 50\n", "c.yaml:1: timeout: must be a time with its unit"},
		"no duration":                       {"timeout: soon\n", "c.yaml:1: timeout: "},
		"mapping for text":                  {"addr:\n  host: a\n", "addr: must be text"},
		"list for text":                     {"addr: [a]\n", "c.yaml:1: addr: must be one value, not a list"},
		"number in a list":                  {"trusted_proxies:\n  - 10\n", "c.yaml:2: trusted_proxies: must be text"},
		"nothing":                           {"addr:\n", "c.yaml:1: addr: must be text"},
		"alias":                             {"message: &a x\nkey_prefix: *a\n", "c.yaml:1: message: must be text"},
		"range in quotes":                   {"ipv4_ranges: [\"24\"]\n", "c.yaml:1: ipv4_ranges: must be a whole number"},
		"unset variable":                    {"redis_url: ${NOPE}\n", "c.yaml:1: redis_url: the environment has no NOPE"},
		"a list":                            {"- a\n", "c.yaml:1: must be a mapping"},
		"text":                              {"hello\n", "c.yaml:1: must be a mapping"},
		"no YAML":                           {"addr: [\n", "c.yaml:1: "},
		"bad indentation":                   {"addr: a\n  b: c\n", "c.yaml:"},
		"two documents":                     {"key_prefix: a\n---\nkey_prefix: b\n", "c.yaml:3: more than one YAML document"},
		"too large":                         {strings.Repeat("#", maxConfig+1), "larger than"},
		"given by flag, wrong all the same": {"timeout: 5\n", "c.yaml:1: timeout: must be a time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.file, nil, "--timeout", "5ms")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	for _, harmless := range []string{"# nothing\n", "---\n", "\ufeffkey_prefix: a\n", "{}\n"} {
		if _, err := load(t, harmless, nil); err != nil {
			t.Errorf("%q: %v", harmless, err)
		}
	}
}

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
		if got := splitPatterns(text); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("splitPatterns(%q) = %q, want %q", text, got, want)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
