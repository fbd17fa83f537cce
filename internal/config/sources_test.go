package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/strictconfig"
)

// TestIsSet: what the file, the environment or a flag says, and nothing else; an empty variable
// says nothing.
func TestIsSet(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text    string
		environ []string
		flags   []strictconfig.Flag
		want    bool
	}{
		"nothing":           {want: false},
		"file":              {text: "http: {addr: '127.0.0.1:9090'}\n", want: true},
		"another key":       {text: "log: {level: info}\n", want: false},
		"environment":       {environ: []string{"WARDSTREAM_HTTP_ADDR=127.0.0.1:9090"}, want: true},
		"empty environment": {environ: []string{"WARDSTREAM_HTTP_ADDR="}, want: false},
		"flag":              {flags: []strictconfig.Flag{{Name: "--http-addr", Key: "http.addr", Value: "127.0.0.1:9090"}}, want: true},
	} {
		c, err := Parse("f.yaml", []byte(tt.text), Options{Environ: tt.environ, Flags: tt.flags, Hostname: "h"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.IsSet("http.addr"); got != tt.want {
			t.Errorf("%s: set is %t", name, got)
		}
	}
}

// TestConsumerIsNamedByHost: also where the configuration says so itself.
func TestConsumerIsNamedByHost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": true, "stream: {consumer: \"${HOSTNAME}\"}\n": true, "stream: {consumer: w1}\n": false} {
		c, err := Parse("f.yaml", []byte(text), Options{Hostname: "h"})
		if err != nil || c.NamedByHost() != want {
			t.Errorf("%q: %t, %v", text, err == nil && c.NamedByHost(), err)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "redis: {url: \"redis://file\"}\nstream: {names: [file], batch_size: 1}\n"
	type result struct {
		url   URL
		names string
		batch int
	}
	tests := map[string]struct {
		text    string
		environ []string
		flags   []strictconfig.Flag
		want    result
	}{
		"default": {"", nil, nil, result{"redis://localhost:6379/0", "audit:events", 512}},
		"file":    {file, nil, nil, result{"redis://file", "file", 1}},
		"environment": {
			file,
			[]string{"WARDSTREAM_REDIS_URL=redis://environment", "WARDSTREAM_STREAM_NAMES=e1, e2,", "WARDSTREAM_STREAM_BATCH_SIZE=2"},
			nil,
			result{"redis://environment", "e1 e2", 2},
		},
		"flag": {
			file,
			[]string{"WARDSTREAM_REDIS_URL=redis://environment", "WARDSTREAM_STREAM_NAMES=e1,e2", "WARDSTREAM_STREAM_BATCH_SIZE=2"},
			[]strictconfig.Flag{{Name: "--redis-url", Key: "redis.url", Value: "redis://flag"}, {Name: "--batch-size", Key: "stream.batch_size", Value: "3"}, {Name: "--stream", Key: "stream.names", Value: "f"}},
			result{"redis://flag", "f", 3},
		},
		"empty variable": {file, []string{"WARDSTREAM_REDIS_URL=", "WARDSTREAM_STREAM_BATCH_SIZE="}, nil, result{"redis://file", "file", 1}},
		"file lacks a variable, overridden": {
			"redis: {url: \"${REDIS}\"}\n",
			[]string{"WARDSTREAM_REDIS_URL=redis://environment"},
			nil,
			result{"redis://environment", "audit:events", 512},
		},
		"no interpolation in variables": {
			"", []string{"WARDSTREAM_STREAM_NAMES=${X}"}, nil, result{"redis://localhost:6379/0", "${X}", 512},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(tt.environ...)
			o.Flags = tt.flags
			c, err := parse("detector.yaml", []byte(tt.text), o)
			if err != nil {
				t.Fatal(err)
			}
			if got := (result{c.Redis.URL, strings.Join(c.Stream.Names, " "), c.Stream.BatchSize}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestVariablesOfEveryKind(t *testing.T) {
	t.Parallel()
	c := load(t, "", "WARDSTREAM_MODE=observe", "WARDSTREAM_EVENTS_STDOUT=false", "WARDSTREAM_STREAM_BLOCK=20ms", "WARDSTREAM_ESCALATE_FACTOR=1.5",
		"WARDSTREAM_REDIS_TLS_SERVER_NAME=r", "WARDSTREAM_REDIS_URL=rediss://r", "WARDSTREAM_ALLOWLIST=10.0.0.0/8,::1", "WARDSTREAM_IPV6_PREFIX=64",
		"WARDSTREAM_POSTGRES_URL=postgres://db/x")
	got := []any{c.Mode, c.Events.Stdout, c.Stream.Block, c.Escalate.Factor, c.Redis.TLS.ServerName, c.Allowlist, c.IPv6Prefix, string(c.Postgres.URL)}
	want := []any{"observe", false, 20 * time.Millisecond, 1.5, "r", []string{"10.0.0.0/8", "::1"}, 64, "postgres://db/x"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestVariableNames: no two keys share a variable.
func TestVariableNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, s := range strictconfig.Overridable(strictconfig.Setting{V: reflect.ValueOf(&Config{}).Elem()}) {
		if other, ok := seen[strictconfig.Variable(s.Key)]; ok {
			t.Errorf("%s sets both %s and %s", strictconfig.Variable(s.Key), s.Key, other)
		}
		seen[strictconfig.Variable(s.Key)] = s.Key
	}
	if len(seen) < 45 || seen["WARDSTREAM_REDIS_URL"] != "redis.url" || seen["WARDSTREAM_POSTGRES_URL"] != "postgres.url" {
		t.Errorf("%d variables: %v", len(seen), seen)
	}
}

func TestWrongOverrides(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		environ []string
		flags   []strictconfig.Flag
		want    string
	}{
		"type":      {[]string{"WARDSTREAM_STREAM_BATCH_SIZE=many"}, nil, `WARDSTREAM_STREAM_BATCH_SIZE: stream.batch_size: "many" is not a whole number (without quotes)`},
		"range":     {[]string{"WARDSTREAM_IPV6_PREFIX=8"}, nil, `WARDSTREAM_IPV6_PREFIX: ipv6_prefix: 8 is not between 32 and 128`},
		"duration":  {[]string{"WARDSTREAM_SHUTDOWN_GRACE=30"}, nil, `WARDSTREAM_SHUTDOWN_GRACE: shutdown.grace: "30" is not a duration such as 30s, 5m or 1h30m`},
		"bool":      {[]string{"WARDSTREAM_EVENTS_STDOUT=yes"}, nil, `WARDSTREAM_EVENTS_STDOUT: events.stdout: "yes" is not true or false (without quotes)`},
		"one of":    {nil, []strictconfig.Flag{{Name: "--mode", Key: "mode", Value: "enforced"}}, `--mode: mode: "enforced" is not one of enforce, observe; did you mean "enforce"?`},
		"element":   {[]string{"WARDSTREAM_ALLOWLIST=10.0.0.1,nobody"}, nil, `WARDSTREAM_ALLOWLIST: allowlist[1]: "nobody" is neither an address, a range like 10.0.0.0/8, nor a scope like user:1`},
		"secret":    {[]string{"WARDSTREAM_REDIS_URL=http://:hunter2@h"}, nil, `WARDSTREAM_REDIS_URL: redis.url: is not a Redis URL; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master) and percent-encode special characters of the password`},
		"no key":    {nil, []strictconfig.Flag{{Name: "--x", Key: "rules", Value: "a"}}, `--x: rules: is not a key that a flag can set`},
		"flag last": {[]string{"WARDSTREAM_HTTP_ADDR=x"}, []strictconfig.Flag{{Name: "--http-addr", Key: "http.addr", Value: "y"}}, `--http-addr: http.addr: "y" is not an address to listen on; write host:port such as 127.0.0.1:9090, or "" for none`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(tt.environ...)
			o.Flags = tt.flags
			if _, err := parse("detector.yaml", []byte("http: {addr: \"127.0.0.1:1\"}\nallowlist: [10.0.0.1, 10.0.0.2]\n"), o); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestErrorOrder: the file's errors come first, by line.
func TestErrorOrder(t *testing.T) {
	t.Parallel()
	_, err := parse("d.yaml", []byte("stream:\n  group: \"\"\nmode: x\n"), options("WARDSTREAM_IPV6_PREFIX=1"))
	want := "d.yaml:2: stream.group: is empty\nd.yaml:3: mode: \"x\" is not one of enforce, observe\nWARDSTREAM_IPV6_PREFIX: ipv6_prefix: 1 is not between 32 and 128"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := parse("", nil, Options{Hostname: "a b"}); err == nil || !strings.HasPrefix(err.Error(), "configuration: stream.consumer: ") {
		t.Errorf("an unfit host name: %v", err)
	}
}

// TestErrorsAreBounded: so are aliases of aliases.
func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "key%d: x\n", i)
	}
	_, err := parse("d.yaml", []byte(text.String()), options())
	if err == nil || strings.Count(err.Error(), "\n") != strictconfig.MaxErrors || !strings.HasSuffix(err.Error(), "\nd.yaml:21: 80 more errors from here on") {
		t.Errorf("got\n%v", err)
	}
	bomb := "stream:\n  names: &a [" + strings.Repeat("x, ", 1000) + "x]\nscopes:\n" + strings.Repeat("- {name: s, attributes: *a}\n", 200)
	_, err = parse("d.yaml", []byte(bomb), options())
	if err == nil || !strings.Contains(err.Error(), "the file says more than 100000 things") {
		t.Errorf("got\n%v", err)
	}
}

// TestInterpolation: in values of every type, after parsing, and nowhere else.
func TestInterpolation(t *testing.T) {
	t.Parallel()
	c := load(t, `
key_prefix: ${PREFIX:-ws}
stream:
  names: ["${EVIL}", "$${x}"]
  batch_size: ${N}
  block: "${MS}ms"
  consumer: ${HOSTNAME}
events:
  stdout: ${BOOL}
  resource: {a: "'${QUOTED}'"}
blocks:
  message: |
    Stop, ${WHO}.
rules:
- name: ${RULE}
  paths: ['^/login$', "^/${N}$"]
actions: {login_throttle: "${ACTION}"}
`, "N=64", "MS=5", "BOOL=false", "EVIL=a,b]:{c}", "QUOTED=\"'", "WHO=you", "RULE=login_throttle", "ACTION=alert")
	got := []any{c.KeyPrefix, c.Stream.Names, c.Stream.BatchSize, c.Stream.Block, c.Stream.Consumer, c.Events.Stdout, c.Events.Resource["a"], c.Blocks.Message, c.Actions["login_throttle"].Action}
	want := []any{"ws", []string{"a,b]:{c}", "${x}"}, 64, 5 * time.Millisecond, "worker-1", false, `'"''`, "Stop, you.\n", "alert"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, p := range c.Rules[0].Params() {
		if p.Key == "paths" && !reflect.DeepEqual(p.Value, []string{"^/login$", "^/64$"}) {
			t.Errorf("paths %q", p.Value)
		}
	}
	if c := load(t, "stream: {consumer: \"${HOSTNAME}\"}", "HOSTNAME=pod-7"); c.Stream.Consumer != "pod-7" {
		t.Errorf("consumer %q", c.Stream.Consumer)
	}
}

func TestInterpolationRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mode: enforce\nkey_prefix: ${WS_NONE}\n":                  `detector.yaml:2: key_prefix: the environment has no WS_NONE; set it, or write ${WS_NONE:-default}`,
		"redis: {url: \"redis://:${PW}@h\"}\n":                     `detector.yaml:1: redis.url: the environment has no PW; set it, or write ${PW:-default}`,
		"\nstream:\n  batch_size: ${SECRET}\n":                     `detector.yaml:3: stream.batch_size: "${SECRET}" is not a whole number (without quotes)`,
		"stream: {names: [a, \"${SECRET\"]}\n":                     `detector.yaml:1: stream.names[1]: ${ has no closing }; write $${ for the two characters themselves`,
		"mode: ${SECRET}\n":                                        `detector.yaml:1: mode: "${SECRET}" is not one of enforce, observe`,
		"rules:\n- name: login_throttle\n  paths: [\"${NONE}\"]\n": `detector.yaml:3: rules[0].paths[0]: the environment has no NONE; set it, or write ${NONE:-default}`,
	} {
		_, err := parse("detector.yaml", []byte(text), options("SECRET=hunter2"))
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	const postgres = "postgres: {url: \"postgres://h/d\"}\n"
	const quiet = postgres + "rules: [{name: brute_force_login}, {name: login_throttle}]\n"
	tests := map[string]struct {
		text    string
		environ []string
		want    []string
	}{
		"none": {quiet, nil, nil},
		"nothing configured": {"", nil, []string{
			"postgres.url is not set: permanent blocks are kept in Redis for 1h only (blocks.permanent_cache_ttl)",
			"rules is empty: nothing is detected; list rules such as brute_force_login",
		}},
		"observe": {quiet + "mode: observe\n", nil, []string{"mode is observe: nothing is blocked, every block becomes an alert"}},
		"permanent ip": {quiet + "actions: {brute_force_login: {action: persist_block, scopes: [user, ip]}}\n", nil, []string{
			"actions.brute_force_login blocks addresses permanently: everyone who shares one (an office, a mobile network) stays blocked",
		}},
		"permanent ip by severity": {quiet + "actions: {brute_force_login: {action: block, scopes: [ip]}}\n", nil, []string{
			"actions.brute_force_login blocks addresses permanently: everyone who shares one (an office, a mobile network) stays blocked",
		}},
		"temporary by severity": {quiet + "blocks: {block_severity: 9}\nactions: {brute_force_login: {action: block, scopes: [ip]}}\n", nil, nil},
		"bare persist_block": {quiet + "actions: {brute_force_login: persist_block}\n", nil, []string{
			"actions.brute_force_login is persist_block without scopes: it blocks user and session, never ip",
		}},
		"persist_block by decision": {postgres + "rules: [{name: repeated_route, paths: [^/x], decision: persist_block}]\n", nil, []string{
			"repeated_route has the decision persist_block: it blocks user and session, never ip",
		}},
		"no effect": {quiet + "actions: {brute_force_login: {action: alert, ttl: 5m, scopes: [ip]}}\nblock_rules: {brute_force_login: 5m}\n", nil, []string{
			"actions.brute_force_login: scopes and ttl without effect, since the action is alert",
			"block_rules.brute_force_login has no effect: actions.brute_force_login comes first",
		}},
		"username": {quiet + "actions: {brute_force_login: {action: temp_block, scopes: [ip, username]}}\n", nil, []string{
			"actions.brute_force_login blocks user names: anyone who tries a name locks its owner out; leave username out of its scopes",
		}},
		"username by persist_block": {quiet + "actions: {brute_force_login: {action: persist_block, scopes: [username]}}\n", nil, []string{
			"actions.brute_force_login blocks user names: anyone who tries a name locks its owner out; leave username out of its scopes",
		}},
		"routes": {postgres + "rules: [{name: repeated_route, threshold: 7}]\n", nil, []string{
			"repeated_route has no paths: 7 requests of an address to any route make a match, with all who share the address; list the paths to watch",
		}},
		"routes, block rule": {postgres + "rules: [{name: repeated_route, paths: [], decision: alert}]\nblock_rules: {repeated_route: 1m}\n", nil, []string{
			"repeated_route has no paths: 10 requests of an address to any route make a match, with all who share the address; list the paths to watch",
		}},
		"routes with paths":    {postgres + "rules: [{name: repeated_route, paths: [^/x]}]\n", nil, nil},
		"routes, alert":        {postgres + "rules: [{name: repeated_route, decision: alert}]\n", nil, nil},
		"routes, action alert": {postgres + "rules: [{name: repeated_route, decision: block}]\nactions: {repeated_route: observe}\n", nil, nil},
		"fields": {postgres + "rules: [{name: sensitive_field_change, fields: [password]}]\n", nil, []string{
			"sensitive_field_change has no action, so its default blocks user and session permanently, people who change their own password and administrators included; " +
				"set actions.sensitive_field_change to observe, or block only what you mean",
		}},
		"fields, observe":    {postgres + "rules: [{name: sensitive_field_change, fields: [a]}]\nactions: {sensitive_field_change: observe}\n", nil, nil},
		"fields, block rule": {postgres + "rules: [{name: sensitive_field_change, fields: [a]}]\nblock_rules: {sensitive_field_change: 5m}\n", nil, nil},
		"throttle alone": {postgres + "rules: [{name: login_throttle}]\n", nil, []string{
			"login_throttle never matches without brute_force_login, whose failures it reads",
		}},
		"broad allowlist": {quiet + "allowlist: [0.0.0.0/0, \"::/0\", \"::ffff:0:0/96\", 10.0.0.0/8, fc00::/7, 2000::/3, 1.2.3.4]\n", nil, []string{
			"allowlist has 0.0.0.0/0: a large part of the Internet is never blocked",
			"allowlist has ::/0: a large part of the Internet is never blocked",
			"allowlist has 0.0.0.0/0: a large part of the Internet is never blocked",
			"allowlist has 2000::/3: a large part of the Internet is never blocked",
		}},
		"escalation": {quiet + "escalate: {permanent_after: 2, permanent_ip: true}\n", nil, []string{
			"escalate.permanent_ip: an address can be blocked permanently, with everyone who shares it",
		}},
		"escalation off": {quiet + "escalate: {max_ttl: 1h}\n", nil, []string{"escalate is off: set escalate.factor above 1 or escalate.permanent_after"}},
		"no sinks":       {quiet + "events: {stdout: false, stream: \"\"}\n", nil, []string{"events has neither stdout, stream, otlp nor webhooks: enforcement events go nowhere"}},
		"webhooks": {quiet + "events: {webhooks: [{url: \"http://example.com/x\", secret: short}, {url: \"http://localhost:1/\"}, {url: \"http://[::1]:1/\", secret: 0123456789abcdef}, {url: \"https://example.com\"}]}\n", nil, []string{
			"events.webhooks[0].url is http: anyone on the network path can read the events and the credentials of the URL",
			"events.webhooks[0].secret is shorter than 16 bytes and can be guessed",
		}},
		"only webhooks": {quiet + "events: {stdout: false, stream: \"\", webhooks: [{url: \"https://example.com\"}]}\n", nil, nil},
		"only OTLP":     {quiet + "events: {stdout: false, stream: \"\", otlp: true}\n", nil, nil},
		"own events":    {quiet + "events: {stream: \"audit:events\"}\n", nil, []string{"events.stream is read as a source, too: the detector skips its own events, so name another stream"}},
		"event time":    {quiet + "stream: {event_time: event}\n", nil, []string{"stream.event_time is event: producers' clocks decide, which is for replays and imports"}},
		"lateness": {quiet + "windows: {lateness: 10s}\n", nil, []string{
			"windows.lateness (10s) is shorter than stream.claim_min_idle (30s): claimed entries may be counted too low",
		}},
		"in order": {quiet + "stream: {max_lag: 30s, shed_types: [auth.*]}\n", nil, nil},
		"shed":     {quiet + "stream: {max_lag: 30s, overload: shed}\n", nil, nil},
		"shed logins": {quiet + "stream: {max_lag: 30s, overload: shed, shed_types: [\"auth.login.*\", auth.logout.user]}\n", nil, []string{
			"stream.shed_types has auth.login.*, which brute_force_login looks at: what is shed escapes it",
		}},
		"shed what is counted": {postgres + "rules: [{name: resource_enumeration}, {name: suspicious_proxy_header}, {name: repeated_client_error}]\nstream: {max_lag: 30s, overload: shed}\n", nil, []string{
			"stream.shed_types has http.response.success and http.response.redirect, which resource_enumeration looks at: what is shed escapes it",
			"stream.shed_types has http.response.success and http.response.redirect, which suspicious_proxy_header looks at: what is shed escapes it",
			"stream.shed_types has http.response.success, which repeated_client_error looks at: what is shed escapes it",
		}},
		"shed a beginning": {postgres + "rules: [{name: resource_enumeration}]\nstream: {max_lag: 30s, overload: shed, shed_types: [\"http.*\"]}\n", nil, []string{
			"stream.shed_types has http.*, which resource_enumeration looks at: what is shed escapes it",
		}},
		"misspelt variable": {quiet, []string{"WARDSTREAM_REDIS_URI=x", "WARDSTREAM_SERVICE_HOST=10.0.0.1", "WARDSTREAM_PORT=tcp://10.0.0.1:80", "WARDSTREAM_TEST_REDIS_URL=x"}, []string{
			"the variable WARDSTREAM_REDIS_URI is not read; WARDSTREAM_REDIS_URL is",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := load(t, tt.text, tt.environ...).Warnings; !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
