package main

import (
	"runtime"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	env := []string{"WARDSTREAM_POSTGRES_URL=" + pg.URL}
	var done struct {
		Applied []string `json:"applied"`
	}
	command(t, env, "migrate", "--output", "json").answers(t, 0).decode(t, &done)
	if len(done.Applied) == 0 || done.Applied[0] != "00001_permanent_blocks.sql" {
		t.Errorf("applied %q", done.Applied)
	}
	command(t, env, "migrate").answers(t, 0).says(t, "nothing to do\n")
	command(t, env, "migrate", "--output", "json").answers(t, 0).decode(t, &done)
	if done.Applied == nil || len(done.Applied) != 0 {
		t.Errorf("applied %q", done.Applied)
	}
	fresh := testenv.Postgres(t)
	command(t, env, "migrate", "--postgres-url", fresh.URL).answers(t, 0).says(t, "applied 00001_permanent_blocks.sql\n")

	command(t, nil, "migrate").fails(t, "postgres.url is not set, so there is nothing to migrate")
	command(t, env, "migrate", "--config", file(t, "postgres: {table: audit_blocks}\n")).fails(t, "postgres.table is audit_blocks: only permanent_blocks is ours to make")
	command(t, nil, "migrate", "--postgres-url", "postgres://app:hunter2@127.0.0.1:1/x").fails(t, "postgres://app:xxxxx@127.0.0.1:1/x can't be reached; start it or correct postgres.url")
}

// TestMigrateConcurrently: processes that migrate at the same time wait for one another.
func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	outputs := make(chan string)
	for range 3 {
		go func() { outputs <- command(t, nil, "migrate", "--postgres-url", pg.URL).stdout }()
	}
	all := <-outputs + <-outputs + <-outputs
	if strings.Count(all, "applied 00001") != 1 || strings.Count(all, "nothing to do") != 2 {
		t.Errorf("together they print %q", all)
	}
}

// A rule is what rules list prints as JSON.
type rule struct {
	Name       string         `json:"name"`
	Configured bool           `json:"configured"`
	Events     []string       `json:"events"`
	Severity   int            `json:"severity"`
	Parameters map[string]any `json:"parameters"`
	Action     string         `json:"action"`
	Scopes     []string       `json:"scopes"`
	TTL        string         `json:"ttl"`
}

const severalRules = `
rules:
- {name: sensitive_field_change, fields: [email, role]}
- {name: brute_force_login, threshold: 3, window: 1m}
- {name: repeated_route, paths: [^/export], decision: temp_block, block_ttl: 10m}
- name: login_throttle
- name: repeated_client_error
- {name: suspicious_proxy_header, severity: 9}
actions:
  brute_force_login: {action: temp_block, scopes: [ip, username], ttl: 15m}
  suspicious_proxy_header: {action: block, scopes: [session]}
block_rules: {login_throttle: 2m}
allowlist: [0.0.0.0/0]
`

func TestRulesList(t *testing.T) {
	t.Parallel()
	path := file(t, severalRules)
	var rules []rule
	command(t, nil, "rules", "list", "--config", path, "--output", "json").answers(t, 0).decode(t, &rules)
	want := map[string]struct{ events, action, scopes, ttl string }{
		"sensitive_field_change":  {"model.update", "persist_block", "user session", ""},
		"brute_force_login":       {"auth.login.failed auth.login.success", "temp_block", "username ip", "15m"},
		"repeated_route":          {"audit.http.request.pre", "temp_block", "ip", "10m"},
		"login_throttle":          {"audit.http.request.pre", "temp_block", "ip", "2m"},
		"repeated_client_error":   {"http.response.client_error http.response.success", "temp_block", "ip", "5m"},
		"suspicious_proxy_header": {"*", "persist_block", "session", ""},
	}
	if len(rules) != len(want) || rules[0].Name != "sensitive_field_change" {
		t.Fatalf("rules %+v", rules)
	}
	for _, r := range rules {
		w := want[r.Name]
		if strings.Join(r.Events, " ") != w.events || r.Action != w.action || strings.Join(r.Scopes, " ") != w.scopes || r.TTL != w.ttl || !r.Configured {
			t.Errorf("rule %+v, want %+v", r, w)
		}
	}
	if p := rules[1].Parameters; p["threshold"] != 3.0 || p["window"] != "1m" || p["success_clears"] != "user" {
		t.Errorf("parameters %v", p)
	}
	command(t, nil, "rules", "list", "--config", path).answers(t, 0).says(t,
		"severity=8 threshold=3 window=1m success_clears=user", "temp_block username,ip 15m\n", "fields=email,role", "paths=^/export")
	command(t, nil, "rules", "list", "--config", path, "--mode", "observe").answers(t, 0).says(t, "temp_block ip 2m (observed only)\n")
	command(t, nil, "rules", "list").answers(t, 0).says(t, "no rules are configured, so nothing is detected; detector rules list --all shows what there is\n")
}

func TestRulesListAll(t *testing.T) {
	t.Parallel()
	var rules []rule
	command(t, nil, "rules", "list", "--all", "--output", "json", "--config", file(t, severalRules)).answers(t, 0).decode(t, &rules)
	if len(rules) != 8 {
		t.Fatalf("%d rules", len(rules))
	}
	for _, r := range rules {
		if r.Configured == (r.Name == "resource_enumeration" || r.Name == "request_body_threshold") {
			t.Errorf("%s: configured is %v", r.Name, r.Configured)
		}
		switch r.Name {
		case "brute_force_login": // defaults, whatever is configured
			if r.Parameters["threshold"] != 5.0 || r.Parameters["window"] != "5m" || r.TTL != "5m" {
				t.Errorf("%+v", r)
			}
		case "resource_enumeration":
			if r.Action != "alert" || r.Events[0] != "http.response.*" {
				t.Errorf("%+v", r)
			}
		}
	}
	command(t, nil, "rules", "list", "--all").answers(t, 0).says(t, "suspicious_proxy_header", "persist_block user,session\n")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	command(t, nil, "version").answers(t, 0).says(t, "detector v1.2.3-test", runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH+"\n")
	command(t, nil, "--version").answers(t, 0).says(t, "detector v1.2.3-test\n")
	var v struct{ Version, Commit, Go, Platform string }
	command(t, nil, "version", "-o", "json").answers(t, 0).decode(t, &v)
	if v.Version != "v1.2.3-test" || v.Go != runtime.Version() {
		t.Errorf("version %+v", v)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"", "run", "migrate", "check", "block", "unblock", "blocks", "rules", "rules list", "dead-letters", "dead-letters list", "dead-letters requeue",
		"dead-letters purge", "version", "demo", "dev",
	} {
		r := command(t, nil, append(strings.Fields(args), "--help")...).answers(t, 0)
		r.says(t, "Usage:\n  detector")
		if args != "rules" && args != "dead-letters" {
			r.says(t, "Examples:\n  detector")
		}
		for line := range strings.Lines(r.stdout) {
			if len(line) > 140 {
				t.Errorf("%s --help has a line of %d bytes: %q", args, len(line), line)
			}
		}
	}
	command(t, nil, "rules").answers(t, 0).says(t, "list")
	command(t, nil, "completion", "bash").answers(t, 0).says(t, "complete")
}

// TestUsageErrorsAreOneLine: each says what to do, exit code 2, before any store is asked.
func TestUsageErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	env := []string{"WARDSTREAM_REDIS_URL=redis://:hunter2@127.0.0.1:1"}
	for line, want := range map[string]string{
		"nonsense":                             `unknown command "nonsense"; detector --help lists them`,
		"rules nonsense":                       `unknown command "nonsense"; detector rules --help lists them`,
		"dead-letters nonsense":                `unknown command "nonsense"`,
		"bloks":                                `unknown command "bloks"; did you mean "blocks"?; detector --help lists them`,
		"blokc ip 203.0.113.9":                 `unknown command "blokc"; did you mean "block"?`,
		"Unblcok ip 203.0.113.9":               `unknown command "Unblcok"; did you mean "unblock"?`,
		"unban ip 203.0.113.9":                 `unknown command "unban"; did you mean "unblock"?`,
		"dead-leters list":                     `unknown command "dead-leters"; did you mean "dead-letters"?`,
		"dead-letters lst":                     `unknown command "lst"; did you mean "list"?; detector dead-letters --help lists them`,
		"dead-letters rqueue 1-1":              `unknown command "rqueue"; did you mean "requeue"?`,
		"rules lits":                           `unknown command "lits"; did you mean "list"?`,
		"completion bsh":                       `unknown command "bsh"; did you mean "bash"?`,
		"help bloks":                           `unknown command "bloks"; did you mean "blocks"?`,
		"help dead-letters prge":               `unknown command "prge"; did you mean "purge"?`,
		"demo extra":                           `"extra": demo takes no arguments`,
		"rules list brute_force_logni --all":   `"brute_force_logni" is not a rule that is listed; did you mean "brute_force_login"?`,
		"blocks --limti 5":                     `unknown flag: --limti; did you mean "--limit"?`,
		"run --http-adr x":                     `unknown flag: --http-adr; did you mean "--http-addr"?`,
		"dead-letters list --outptu json":      `unknown flag: --outptu; did you mean "--output"?`,
		"version extra":                        `"extra": version takes no arguments; see detector version --help`,
		"check extra":                          "takes no arguments",
		"check --nonsense":                     "unknown flag: --nonsense",
		"check --output xml":                   `invalid argument "xml" for "-o, --output" flag: must be text or json`,
		"check -o xml":                         `invalid argument "xml" for "-o, --output" flag: must be text or json`,
		"version --config x":                   "unknown flag: --config: detector version does not use it, detector ",
		"blocks --consumer x":                  "unknown flag: --consumer: detector blocks does not use it, detector check does",
		"rules list --http-addr x":             "unknown flag: --http-addr: detector rules list does not use it, detector run does",
		"block":                                "block wants a type and a value, such as: detector block ip 203.0.113.9",
		"block ip":                             "block wants a type and a value",
		"block ip 1.2.3.4 5":                   "block wants a type and a value",
		"block ip nonsense --ttl 1m":           `ip "nonsense": is neither an address nor a range; write 203.0.113.9`,
		"block ip 10.0.0.0/8 --ttl 1m":         "is a very wide range; add --yes",
		"block route /a --ttl 1m":              "routes are counted, never blocked; use one of user, username, session, ip",
		"block usr 1 --ttl 1m":                 `"usr" is not a scope that can be blocked; use one of user, username, session, ip, or list it in scopes with block: true; did you mean "user"?`,
		"block user 1 --ttl 0":                 `--ttl "0s": must be between 1s and 365d; leave it out for a permanent block`,
		"block user 1 --ttl -5m":               "--ttl \"-5m\": must be between",
		"block user 1 --ttl 2y":                `invalid argument "2y" for "--ttl" flag: must be a duration such as 30s, 10m, 12h or 7d`,
		"block user 1 --ttl 9000h":             "must be between 1s and 365d",
		"block user 1 --status 200":            "--status 200: must be between 400 and 599",
		"block user 1 --status x":              `invalid argument "x" for "--status"`,
		"block user 1 --reason " + long(1025):  "--reason: must be text of up to 1024 bytes",
		"block user 1 --by " + long(1025):      "--by: must be text of up to 1024 bytes",
		"block user 1 --message " + long(1025): "--message: must be text of up to 1024 bytes",
		"block user " + long(4097):             "value of user: must be text, without control characters, of up to 4096 bytes",
		"unblock user":                         "unblock wants a type and a value, such as: detector unblock ip 203.0.113.9",
		"unblock ip nonsense":                  "is neither an address nor a range",
		"unblock user 1 --by " + long(1025):    "--by: must be text",
		"blocks ip":                            "blocks wants a type and a value, such as: detector blocks ip 203.0.113.9",
		"blocks --limit -1":                    "--limit -1: must be 0 or more",
		"blocks --limit x":                     `invalid argument "x" for "--limit"`,
		"dead-letters list --limit -1":         "--limit -1: must be 0 or more",
		"dead-letters list --stream x":         `--stream "x": is not one of the configured streams (audit:events)`,
		"dead-letters requeue":                 "name dead letters by their IDs, or all by --all",
		"dead-letters requeue 1":               `"1": is not the ID of a dead letter; detector dead-letters list shows them`,
		"dead-letters requeue 1-1 --all":       "name dead letters by their IDs, or all by --all",
		"dead-letters purge":                   "name dead letters by their IDs, or all by --all",
		"dead-letters purge --all":             "--all means every dead letter of the stream; add --yes",
		"dead-letters purge * --yes":           `"*": is not the ID of a dead letter`,
		"dead-letters purge --older-than x":    "must be a duration",
		"dead-letters purge --older-than -1s":  "--older-than: must not be negative",
		"blocks":                               "can't be reached; start it or correct redis.url",
		"block user 1 --ttl 1m":                "can't be reached; start it or correct redis.url",
		"unblock user 1":                       "can't be reached; start it or correct redis.url",
		"dead-letters list":                    "can't be reached; start it or correct redis.url",
		"dead-letters purge 1-1":               "can't be reached; start it or correct redis.url",
	} {
		r := command(t, env, strings.Fields(line)...)
		r.fails(t, want)
		if strings.Contains(r.stderr, "hunter2") {
			t.Errorf("%.60s prints the password: %q", line, r.stderr)
		}
	}
	command(t, env, "block", "user", "").fails(t, "value of user: is empty")
	command(t, env, "block", "user", "a\xffb").fails(t, "must be text")
	command(t, env, "non\x1b[2J\nsense").fails(t, "unknown command")
}

func long(n int) string { return strings.Repeat("x", n) }
