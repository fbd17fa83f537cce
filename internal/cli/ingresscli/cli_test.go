package ingresscli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/schema"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// run runs a command and returns its exit code and what it printed.
func run(t testing.TB, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	app := cli.App{Args: args, Stdout: &out, Stderr: &errs}
	for name, value := range env {
		app.Environ = append(app.Environ, name+"="+value)
	}
	code = Main(t.Context(), app)
	return code, out.String(), errs.String()
}

// blockIn writes a temporary block, or a permanent one, as detectors do.
func blockIn(t testing.TB, env *testenv.RedisEnv, typ, value string, ttl time.Duration) {
	t.Helper()
	keys := rediskey.Keys{Prefix: env.Prefix}
	b := checker.Block{
		Scope: checker.Scope{Type: typ, Value: value}, Rule: "secret-rule", Reason: "secret-reason", StatusCode: 429, Message: "slow down",
		CreatedAt: time.Now(),
	}
	if ttl == 0 {
		b.StatusCode, b.Message = 403, "go away"
		raw, err := wire.EncodeMember(b)
		if err == nil {
			err = env.Client.HSet(t.Context(), keys.Permanent(), rediskey.MemberField(b.Scope), raw).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	b.ExpiresAt = time.Now().Add(ttl)
	raw, err := wire.EncodeBlock(b)
	if err == nil {
		err = env.Client.Set(t.Context(), keys.Block(b.Scope), raw, ttl).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

const visitor, attacker, exile = "198.51.100.7", "203.0.113.9", "203.0.113.10"

// blocked returns a Redis in which the attacker has a temporary and the exile a permanent block.
func blocked(t testing.TB) *testenv.RedisEnv {
	t.Helper()
	env := testenv.Redis(t)
	blockIn(t, env, "ip", attacker, time.Minute)
	blockIn(t, env, "ip", exile, 0)
	return env
}

// migrated returns a Postgres with our tables.
func migrated(t testing.TB) *testenv.PostgresEnv {
	t.Helper()
	env := testenv.Postgres(t)
	db := stdlib.OpenDBFromPool(env.Pool)
	defer db.Close()
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return env
}

func TestCheck(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	blockIn(t, env, "user", "42", 0)
	blockIn(t, env, "username", "eve", time.Minute)
	blockIn(t, env, "session", "s1", time.Minute)
	blockIn(t, env, "tenant", "a:b", time.Minute)
	blockIn(t, env, "ip", "2001:db8::/64", time.Minute)
	blockIn(t, env, "ip", "192.0.2.192/26", time.Minute) // no client is in it
	blockIn(t, env, "ip", "192.0.2.0/24", time.Minute)
	where := []string{"--redis-url", env.URL, "--key-prefix", env.Prefix}
	for text, want := range map[string]int{
		"--ip " + visitor: 0, "--ip " + attacker: 1, "--ip " + attacker + ":80": 1, "--ip ::ffff:" + attacker: 1, "--ip " + exile: 1,
		"--user 42": 1, "--user 43": 0, "--username 42": 0, "--username eve": 1, "--session s1": 1, "--user s1": 0,
		"--scope tenant:a:b": 1, "--scope tenant:a": 0, "--scope ip:" + attacker: 1, "--scope tenant:a --scope user:42": 1,
		"--user 43 --ip " + attacker: 1, "--ip 2001:db8::7": 1, "--ip 2001:db8::7 --ipv6-ranges 48,0": 0, "--ip 2001:db8::7 --ipv6-ranges 0 --ipv6-prefix 64": 1,
		"--ip 192.0.2.200": 1, "--ip 192.0.2.200 --ipv4-ranges 23": 0, "--ip 192.0.3.1": 0,
	} {
		for _, format := range []string{"text", "json"} {
			code, stdout, stderr := run(t, nil, append(append([]string{"check", "--output", format}, where...), strings.Fields(text)...)...)
			if code != want || stderr != "" || strings.Count(stdout, "\n") != 1 {
				t.Errorf("%s: exit %d, want %d; %q %q", text, code, want, stdout, stderr)
			}
			if blocked := strings.HasPrefix(stdout, "blocked") || strings.Contains(stdout, `"blocked":true`); blocked != (want == 1) {
				t.Errorf("%s: %s", text, stdout)
			}
		}
	}
}

func TestCheckReportsDecision(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	variables := map[string]string{"WARDSTREAM_REDIS_URL": env.URL}
	_, stdout, _ := run(t, variables, "check", "--key-prefix", env.Prefix, "--ip", attacker, "--output", "json")
	var v verdict
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		t.Fatal(err)
	}
	end, err := time.Parse(time.RFC3339, v.ExpiresAt)
	if err != nil || time.Until(end) > time.Minute || v.RetryAfter < 1 || v.RetryAfter > 60 {
		t.Errorf("expiry %q, retry after %d", v.ExpiresAt, v.RetryAfter)
	}
	v.ExpiresAt, v.RetryAfter = "", 0
	if want := (verdict{
		Blocked: true, ScopeType: "ip", ScopeValue: attacker, Rule: "secret-rule", Reason: "secret-reason", StatusCode: 429, Message: "slow down",
	}); v != want {
		t.Errorf("verdict %+v, want %+v", v, want)
	}
	_, stdout, _ = run(t, variables, "check", "--key-prefix", env.Prefix, "--ip", exile)
	if want := `blocked: ip "` + exile + `" by rule "secret-rule" permanently; answer 403 "go away"` + "\n"; stdout != want {
		t.Errorf("text %q, want %q", stdout, want)
	}
}

// TestCheckEscapesControlCharacters: what the store says can't drive the terminal.
func TestCheckEscapesControlCharacters(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	raw := `{"scope_type":"user","scope_value":"42","rule_name":"r\u001b[2J","message":"a\nb","reason":"\u009b"}`
	if err := env.Client.Set(t.Context(), env.Prefix+":block:user:42", raw, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := run(t, nil, "check", "--redis-url", env.URL, "--key-prefix", env.Prefix, "--user", "42")
	if code != 1 || strings.ContainsAny(stdout, "\x1b\u009b") || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("exit %d, %q", code, stdout)
	}
}

func TestCheckOnPostgres(t *testing.T) {
	t.Parallel()
	pg := migrated(t)
	if _, err := pg.Pool.Exec(t.Context(), `INSERT INTO permanent_blocks (scope_type, scope_value, status_code, message) VALUES ('ip', $1, 403, 'go away')`, attacker); err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]int{attacker: 1, visitor: 0} {
		if code, stdout, stderr := run(t, map[string]string{"WARDSTREAM_POSTGRES_URL": pg.URL}, "check", "--ip", ip); code != want {
			t.Errorf("%s: exit %d, want %d; %q %q", ip, code, want, stdout, stderr)
		}
	}
}

// TestCheckKeepsAllowlists: neither our own allowlist nor that of the detectors lets a block count.
func TestCheckKeepsAllowlists(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	blockIn(t, env, "ip", "203.0.113.0/24", time.Hour)
	where := []string{"check", "--redis-url", env.URL, "--key-prefix", env.Prefix}
	for client, want := range map[string]int{"203.0.113.9": 0, "203.0.113.10": 1} {
		if code, _, stderr := run(t, nil, append(where, "--allowlist", "203.0.113.9", "--ip", client)...); code != want {
			t.Errorf("check of %s exits %d: %s", client, code, stderr)
		}
	}
	raw, err := wire.Settings{Allowlist: []string{"203.0.113.10"}, IPv6Prefix: 128}.Encode()
	if err == nil {
		err = env.Client.Set(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Settings(), raw, time.Minute).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, nil, append(where, "--ip", "203.0.113.10")...); code != 0 {
		t.Errorf("check of what the detectors allow exits %d: %s", code, stderr)
	}
	if code, _, stderr := run(t, nil, append(where, "--allowlist", "localhost", "--ip", "203.0.113.10")...); code != 2 || !strings.Contains(stderr, "--allowlist") {
		t.Errorf("a wrong allowlist: exit %d, %s", code, stderr)
	}
}

// TestConfigurationErrorsAreReportedTogether: every mistake of a file, or of the options, has a
// line of its own, and says what was probably meant.
func TestConfigurationErrorsAreReportedTogether(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "redis_ulr: redis://localhost\ntimeout: 5\ntrusted_proxys: [10.0.0.0/8]\nmirror: \"yes\"\nmirror: true\nentirely_else: 1\nlog-fromat: json\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ args, want []string }{
		"a file": {[]string{"serve", "--config", file}, []string{
			`c.yaml:1: redis_ulr: is not a known key; did you mean "redis_url"?`, "c.yaml:2: timeout: 5 has no unit; write it as 5s", `c.yaml:3: trusted_proxys: is not a known key; did you mean "trusted_proxies"?`,
			`c.yaml:4: mirror: "yes" is not true or false`, "c.yaml:5: mirror: was given already in line 4; keep one", "c.yaml:6: entirely_else: is not a known key", `c.yaml:7: log_fromat: is not a known key; did you mean "log_format"?`,
		}},
		"options": {[]string{"serve", "--timeout", "0s", "--trusted-proxies", "x", "--fail-closed-paths", "(", "--tls-cert", "a", "--publish-buffer", "0", "--ipv6-prefix", "200", "--user-header", "a b"}, []string{
			"no store given", "--timeout 0s: must be above 0", "--ipv6-prefix 200", `--fail-closed-paths "("`, "--trusted-proxies: ", "--publish-buffer 0", `--user-header "a b"`, "--tls-cert and --tls-key",
		}},
		"check": {[]string{"check", "--ip", "1.2.3.4", "--timeout", "0s", "--ipv4-ranges", "32"}, []string{"no store given", "--timeout 0s", "--ipv4-ranges [32]"}},
	} {
		code, stdout, stderr := run(t, nil, tc.args...)
		lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
		if code != 2 || stdout != "" || len(lines) != len(tc.want) {
			t.Errorf("%s: exit %d, %q, %d lines:\n%s", name, code, stdout, len(lines), stderr)
			continue
		}
		for n, want := range tc.want {
			if !strings.HasPrefix(lines[n], "ingress-check: ") || !strings.Contains(lines[n], want) {
				t.Errorf("%s: line %d is %q, want %q", name, n, lines[n], want)
			}
		}
	}
	many := strings.Repeat("nonsense: 1\n", 100)
	if err := os.WriteFile(file, []byte(many), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, stderr := run(t, nil, "serve", "--config", file); strings.Count(stderr, "\n") != strictconfig.MaxErrors+1 || !strings.Contains(stderr, "c.yaml:21: 80 more errors from here on") {
		t.Errorf("100 mistakes: %s", stderr)
	}
}

// TestMistypedCommandsAndFlags: what was probably meant is said, other programs' words included.
func TestMistypedCommandsAndFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"sevre": `unknown command "sevre"; did you mean "serve"?`, "chek": `did you mean "check"?`, "run": `did you mean "serve"?`, "lookup": `did you mean "check"?`,
		"Version": `did you mean "version"?`, "serve --trusted-proxy x": `did you mean "--trusted-proxies"?`, "check --usr 1": `did you mean "--user"?`,
		"check --redis-ulr x": `did you mean "--redis-url"?`, "serve x": "serve takes no arguments",
	} {
		code, stdout, stderr := run(t, nil, strings.Fields(args)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %q, %q; want %q", args, code, stdout, stderr, want)
		}
	}
}

// TestCheckRange: that a range was given is said, whatever its form.
func TestCheckRange(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--ip", "203.0.113.0/24"}, {"--ip", " 203.0.113.9/32 "}, {"--ip", "2001:db8::/64"}, {"--scope", "ip:203.0.113.0/24"}} {
		code, _, stderr := run(t, nil, append([]string{"check", "--redis-url", "redis://127.0.0.1:1"}, args...)...)
		if code != 2 || !strings.Contains(stderr, "is a range") {
			t.Errorf("%q: exit %d, %q", args, code, stderr)
		}
	}
}

// TestHelpParts: a command's own flags come first, those of the store behind "Global flags".
func TestHelpParts(t *testing.T) {
	t.Parallel()
	for args, parts := range map[string][2][]string{
		"check --help":   {{"--ip ", "--user ", "--scope", "-o, --output"}, {"--redis-url", "--postgres-url", "--timeout", "--config"}},
		"serve --help":   {{"--addr", "--trusted-proxies", "--publish ", "--log-format"}, {"--redis-url", "--key-prefix", "--config"}},
		"version --help": {{"-o, --output"}, nil},
	} {
		_, stdout, _ := run(t, nil, strings.Fields(args)...)
		own, global, _ := strings.Cut(stdout, "Global flags:")
		for _, flag := range parts[0] {
			if !strings.Contains(own, flag) || strings.Contains(global, flag) {
				t.Errorf("%s: %s isn't among its own flags: %s", args, flag, stdout)
			}
		}
		for _, flag := range parts[1] {
			if strings.Contains(own, flag) || !strings.Contains(global, flag) {
				t.Errorf("%s: %s isn't among the global flags: %s", args, flag, stdout)
			}
		}
	}
	for _, args := range []string{"version -o json", "version --output json"} {
		_, stdout, _ := run(t, nil, strings.Fields(args)...)
		var v map[string]string
		if err := json.Unmarshal([]byte(stdout), &v); err != nil || v["version"] == "" {
			t.Errorf("%s: %q, %v", args, stdout, err)
		}
	}
}

// TestErrorsAreOneLineAndExit2: each says what to do, and no password.
func TestErrorsAreOneLineAndExit2(t *testing.T) {
	t.Parallel()
	dead := "redis://:hunter2@" + testenv.ClosedPort(t)
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("redis_url: \""+dead+"\"\nfail_closed_paths: [^/]\nmistake: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fine := filepath.Join(t.TempDir(), "d.yaml")
	if err := os.WriteFile(fine, []byte("redis_url: \""+dead+"\"\nfail_closed_paths: [^/]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"check":                     "nothing to check",
		"check --redis-url " + dead: "nothing to check",
		"check --ip 1.2.3.4":        "no store given",
		"check --ip nonsense --redis-url " + dead:     `--ip "nonsense": is not an address`,
		"check --scope user --redis-url " + dead:      `--scope "user": must be type:value`,
		"check --scope ip:x --redis-url " + dead:      `--scope "ip:x": must be type:value, and an address for ip`,
		"check --scope route:/a --redis-url " + dead:  "routes are counted",
		"check --scope a:1 --scope a:2 --redis-url x": "one value of a type",
		"check --user 1 --output xml":                 `invalid argument "xml" for "-o, --output" flag: must be text or json`,
		"check --ip 1.2.3.4 --redis-url " + dead:      "ask the store: ",
		"check --ip 1.2.3.4 --config " + fine:         "ask the store: ",
		"check --ip 1.2.3.4 --config " + file:         "c.yaml:3: mistake: is not a known key",
		"check --ip 1.2.3.4 --config /does/not/exist": "/does/not/exist: there is no such file; name it with --config",
		"check extra":      `"extra": check takes no arguments`,
		"check --nonsense": "unknown flag: --nonsense",
		"serve":            "no store given",
		"serve --redis-url " + dead + " --addr x":            "--addr: ",
		"serve --redis-url nonsense://:hunter2@h":            "--redis-url: is not a Redis URL; write redis://user:password@host:6379/0",
		"serve --redis-url " + dead + " --timeout 5":         "invalid argument \"5\" for \"--timeout\"",
		"serve --redis-url " + dead + " --log-format x":      `--log-format: log_format: "x" is not one of json, text`,
		"serve --redis-url " + dead + " --trusted-proxies x": "--trusted-proxies: ",
		"nonsense": `unknown command "nonsense"; ingress-check --help lists them`,
	} {
		code, stdout, stderr := run(t, nil, strings.Fields(args)...)
		if code != 2 || stdout != "" || !strings.HasPrefix(stderr, "ingress-check: ") || !strings.Contains(stderr, want) ||
			strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: exit %d, %q, %q; want one line with %q", args, code, stdout, stderr, want)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"": "serve", "--help": "check", "serve --help": "--trusted-proxies", "check --help": "--scope", "version": "ingress-check ",
	} {
		if code, stdout, stderr := run(t, nil, strings.Fields(args)...); code != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%q: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
	if _, stdout, _ := run(t, nil, "check", "--help"); strings.Contains(stdout, "--addr") || !strings.Contains(stdout, "(default 2s)") {
		t.Errorf("check --help: %s", stdout)
	}
}
