package ingress

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

// run runs a command and returns its exit code and what it printed.
func run(t testing.TB, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	app := App{Args: args, Stdout: &out, Stderr: &errs, Getenv: func(key string) string { return env[key] }}
	code = app.Main(t.Context())
	return code, out.String(), errs.String()
}

func TestCheck(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	blockIn(t, env, "user", "42", 0)
	blockIn(t, env, "username", "eve", time.Minute)
	blockIn(t, env, "session", "s1", time.Minute)
	blockIn(t, env, "tenant", "a:b", time.Minute)
	blockIn(t, env, "ip", "2001:db8::/64", time.Minute)
	blockIn(t, env, "ip", "192.0.2.192/26", time.Minute) // nobody asks for it
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

func TestCheckSaysWhatItFound(t *testing.T) {
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

// TestCheckQuotesForTheTerminal: what the store says can't drive the terminal.
func TestCheckQuotesForTheTerminal(t *testing.T) {
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
	insert(t, pg, attacker)
	for ip, want := range map[string]int{attacker: 1, visitor: 0} {
		if code, stdout, stderr := run(t, map[string]string{"WARDSTREAM_POSTGRES_URL": pg.URL}, "check", "--ip", ip); code != want {
			t.Errorf("%s: exit %d, want %d; %q %q", ip, code, want, stdout, stderr)
		}
	}
}

// TestErrorsAreOneLineAndExit2: each says what to do, and no password.
func TestErrorsAreOneLineAndExit2(t *testing.T) {
	t.Parallel()
	dead := "redis://:hunter2@" + closedPort(t)
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
		"check --ip nonsense --redis-url " + dead:     `--ip "nonsense": no address`,
		"check --scope user --redis-url " + dead:      `--scope "user": must be type:value`,
		"check --scope ip:x --redis-url " + dead:      `--scope "ip:x": must be type:value, and an address for ip`,
		"check --scope route:/a --redis-url " + dead:  "routes are counted",
		"check --scope a:1 --scope a:2 --redis-url x": "one value of a type",
		"check --user 1 --output xml":                 "--output \"xml\": must be text or json",
		"check --ip 1.2.3.4 --redis-url " + dead:      "ask the store: ",
		"check --ip 1.2.3.4 --config " + fine:         "ask the store: ",
		"check --ip 1.2.3.4 --config " + file:         `c.yaml:3: unknown key "mistake"`,
		"check --ip 1.2.3.4 --config /does/not/exist": "--config: ",
		"check extra":      "unknown command",
		"check --nonsense": "unknown flag: --nonsense",
		"serve":            "no store given",
		"serve --redis-url " + dead + " --addr x":            "--addr: ",
		"serve --redis-url nonsense://:hunter2@h":            "--redis-url: ",
		"serve --redis-url " + dead + " --timeout 5":         "invalid argument \"5\" for \"--timeout\"",
		"serve --redis-url " + dead + " --log-format x":      "--log-format",
		"serve --redis-url " + dead + " --trusted-proxies x": "--trusted-proxies: ",
		"nonsense": "unknown command \"nonsense\"",
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
