package ingresscli

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/ingress"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// loaded applies a file, an environment and a command line to the defaults.
func loaded(t *testing.T, file string, env map[string]string, args ...string) (ingress.Options, error) {
	t.Helper()
	defaults := ingress.DefaultOptions()
	flags := optionFlags(&defaults)
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
	var environ []string
	for variable, value := range env {
		environ = append(environ, variable+"="+value)
	}
	return load(name, flags, environ)
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	t.Parallel()
	const file = "redis_url: redis://file\nkey_prefix: file\ntimeout: 10ms\n"
	env := map[string]string{"WARDSTREAM_REDIS_URL": "redis://env"}
	o, err := loaded(t, file, env, "--timeout", "20ms")
	if err != nil || o.RedisURL != "redis://env" || o.KeyPrefix != "file" || o.Timeout != 20*time.Millisecond || o.Addr != "127.0.0.1:8080" {
		t.Fatalf("options %+v, %v", o, err)
	}
	o, err = loaded(t, file, env, "--redis-url", "redis://flag")
	if err != nil || o.RedisURL != "redis://flag" || o.Timeout != 10*time.Millisecond {
		t.Fatalf("options %+v, %v", o, err)
	}
	if o, err = loaded(t, file, map[string]string{"WARDSTREAM_REDIS_URL": ""}); err != nil || o.RedisURL != "redis://file" {
		t.Fatalf("an empty variable: %+v, %v", o, err)
	}
	if o, err = loaded(t, "key_prefix: &a alias\npostgres_table: *a\naddr: null\ntimeout:\n", nil); err != nil || o.PostgresTable != "alias" || o.Addr != "127.0.0.1:8080" || o.Timeout != 50*time.Millisecond {
		t.Fatalf("null, or an alias: %+v, %v", o, err)
	}
	if o, err = loaded(t, "redis_url: ${NOPE}\n", env, "--trusted-proxies", "10.0.0.1,10.0.0.2", "--trusted-proxies", "10.0.0.3", "--fail-closed-paths", "^/a{1,2}$,b"); err != nil ||
		!slices.Equal(o.TrustedProxies, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}) || !slices.Equal(o.FailClosedPaths, []string{"^/a{1,2}$", "b"}) {
		t.Fatalf("lists as flags: %+v, %v", o, err)
	}
	if o, err = loaded(t, "", map[string]string{"WARDSTREAM_POSTGRES_URL": "postgres://env"}); err != nil || o.PostgresURL != "postgres://env" || o.Timeout != 50*time.Millisecond {
		t.Fatalf("without a file: %+v, %v", o, err)
	}
}

// TestEveryFlagIsAKey: each flag is a key of the file, and the example has them all.
func TestEveryFlagIsAKey(t *testing.T) {
	t.Parallel()
	o, err := loaded(t, `
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
	want := ingress.Options{
		Addr: "0.0.0.0:1", GRPCAddr: "unix:/run/i.sock", SocketMode: "0600", MaxConnections: 7, TLSCert: "a.crt", TLSKey: "a.key", TLSClientCA: "ca.crt",
		ClientHeader: "Forwarded", TrustUnix: true, ProxyProtocol: true, ReasonHeaders: true, HTTPAddr: "127.0.0.1:2", RedisURL: "redis://r1:6379/0", PostgresURL: "postgres://user@h/d",
		RedisTLS:      ingress.RedisTLS{CAFile: "r-ca.crt", CertFile: "r.crt", KeyFile: "r.key", ServerName: "r.test"},
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

// TestFlagsAreTheKeys: a flag without its key, or a key without its flag, fails.
func TestFlagsAreTheKeys(t *testing.T) {
	t.Parallel()
	o := ingress.DefaultOptions()
	var flags, keys []string
	optionFlags(&o).VisitAll(func(f *pflag.Flag) { flags = append(flags, strings.ReplaceAll(f.Name, "-", "_")) })
	for _, f := range strictconfig.FieldsOf(reflect.TypeFor[ingress.Options]()) {
		keys = append(keys, f.Name)
	}
	slices.Sort(keys)
	if !slices.Equal(flags, keys) {
		t.Errorf("the flags are %q, the yaml tags of Options %q: give each key a flag and each flag a key", flags, keys)
	}
}

func TestExampleFile(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../../ingress-check.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o, err := loaded(t, string(raw), map[string]string{"REDIS_PASSWORD": "p"})
	if err != nil {
		t.Fatal(err)
	}
	o.Stdout = io.Discard
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	flags := optionFlags(&o)
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(raw), strings.ReplaceAll(f.Name, "-", "_")+":") {
			t.Errorf("the example explains no %s", f.Name)
		}
	})
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, want string }{
		"unknown key":                       {"addr: \"a:1\"\nredis_ulr: x\n", `c.yaml:2: redis_ulr: is not a known key; did you mean "redis_url"?`},
		"config isn't a key":                {"config: x\n", "c.yaml:1: config: is not a known key"},
		"twice":                             {"addr: \"a:1\"\naddr: \"b:1\"\n", "c.yaml:2: addr: was given already in line 1; keep one"},
		"twice in two spellings":            {"key_prefix: a\nkey-prefix: b\n", "c.yaml:2: key_prefix: was given already in line 1; keep one"},
		"number for text":                   {"key_prefix: 5\n", "c.yaml:1: key_prefix: 5 is not text; put it in quotes"},
		"text for a number":                 {"\nipv6_prefix: \"64\"\n", `c.yaml:2: ipv6_prefix: "64" is not a whole number (without quotes)`},
		"fraction for a number":             {"ipv6_prefix: 6.5\n", "c.yaml:1: ipv6_prefix: 6.5 is not a whole number (without quotes)"},
		"text for a boolean":                {"permanent_tier: \"yes\"\n", `c.yaml:1: permanent_tier: "yes" is not true or false (without quotes)`},
		"duration without unit":             {"timeout: 50\n", "c.yaml:1: timeout: 50 has no unit; write it as 50s, 50m or 50h"},
		"no duration":                       {"timeout: soon\n", `c.yaml:1: timeout: "soon" is not a duration such as`},
		"mapping for text":                  {"addr:\n  host: a\n", "c.yaml:1: addr: is a mapping, not text"},
		"list for text":                     {"addr: [a]\n", "c.yaml:1: addr: is a list, not text"},
		"number in a list":                  {"trusted_proxies:\n  - 10\n", "c.yaml:2: trusted_proxies[0]: 10 is not text; put it in quotes"},
		"number for a list":                 {"trusted_proxies: 10\n", "c.yaml:1: trusted_proxies: 10 is not text; put it in quotes"},
		"mapping for a list":                {"trusted_proxies: {a: b}\n", "c.yaml:1: trusted_proxies: is a mapping, not a list"},
		"nothing in a list":                 {"trusted_proxies: [null]\n", "c.yaml:1: trusted_proxies[0]: has no value"},
		"unknown alias":                     {"key_prefix: *a\n", "c.yaml:1: key_prefix: no anchor \"a\""},
		"no format":                         {"log_format: jsn\n", `c.yaml:1: log_format: "jsn" is not one of json, text; did you mean "json"?`},
		"range in quotes":                   {"ipv4_ranges: [\"24\"]\n", `c.yaml:1: ipv4_ranges[0]: "24" is not a whole number (without quotes)`},
		"unset variable":                    {"redis_url: ${NOPE}\n", "c.yaml:1: redis_url: the environment has no NOPE; set it, or write ${NOPE:-default}"},
		"a list":                            {"- a\n", "c.yaml:1: is a list, not a mapping"},
		"text":                              {"hello\n", "c.yaml:1: is a plain value, not a mapping"},
		"no YAML":                           {"addr: [\n", "c.yaml:1: "},
		"bad indentation":                   {"addr: a\n  b: c\n", "c.yaml:"},
		"two documents":                     {"key_prefix: a\n---\nkey_prefix: b\n", "c.yaml:3: a second document begins; keep one"},
		"too large":                         {strings.Repeat("#", strictconfig.MaxFile+1), "larger than"},
		"given by flag, wrong all the same": {"timeout: 5\n", "c.yaml:1: timeout: 5 has no unit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loaded(t, tc.file, nil, "--timeout", "5ms")
			if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	for _, harmless := range []string{"addr:\n", "message: &a x\nkey_prefix: *a\n", "# nothing\n", "---\n", "\ufeffkey_prefix: a\n", "{}\n"} {
		if _, err := loaded(t, harmless, nil); err != nil {
			t.Errorf("%q: %v", harmless, err)
		}
	}
}
