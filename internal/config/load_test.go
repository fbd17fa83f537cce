package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func options(environ ...string) Options { return Options{Environ: environ, Hostname: "worker-1"} }

// load parses text as detector.yaml and fails the test if it is refused.
func load(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	c, err := parse("detector.yaml", []byte(text), options(environ...))
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return c
}

// specExample is the configuration that the specification shows.
const specExample = `mode: enforce                       # or observe
key_prefix: wardstream
redis: {url: "redis://localhost:6379/0"}
postgres: {url: "postgres://localhost/wardstream", table: permanent_blocks}   # leave out: no permanent tier
stream: {names: [audit:events], group: detectors, consumer: "${HOSTNAME}", batch_size: 512, claim_min_idle: 30s, max_deliveries: 5, retention: 24h}
rules:
  - name: brute_force_login
    threshold: 5
    window: 5m
  - name: repeated_client_error
  - name: login_throttle
sigma: []             # custom rules
actions:
  brute_force_login: {action: temp_block, scopes: [ip], ttl: 15m}
block_rules: {login_throttle: 2m}
blocks: {default_ttl: 5m, permanent_cache_ttl: 1h, block_severity: 8, status_code: 429, message: "Request blocked by audit enforcement policy", precedence: [user, username, session, ip]}
scopes: [{name: tenant, attributes: [tenant.id], block: true}]
allowlist: [10.0.0.0/8, "user:1"]
events: {stdout: true, stream: audit:enforcement}
http: {addr: "127.0.0.1:9090"}      # /metrics /healthz /readyz, later the console
`

func TestSpecificationExampleLoads(t *testing.T) {
	t.Parallel()
	c := load(t, specExample)
	if !slices.Equal(c.Stream.Names, []string{"audit:events"}) || c.Stream.Consumer != "worker-1" || c.Stream.Retention != 24*time.Hour {
		t.Errorf("stream %+v", c.Stream)
	}
	if c.Events.Stream != "audit:enforcement" || !slices.Equal(c.Allowlist, []string{"10.0.0.0/8", "user:1"}) {
		t.Errorf("events %+v, allowlist %q", c.Events, c.Allowlist)
	}
	var names []string
	for _, r := range c.RuleSet.Rules() {
		names = append(names, r.Name())
	}
	if want := []string{"brute_force_login", "repeated_client_error", "login_throttle"}; !slices.Equal(names, want) {
		t.Errorf("rules %q, want %q", names, want)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// TestSpecificationDefaultsHold: what the specification shows of these is what holds anyway. A
// change of a default changes what running installations do.
func TestSpecificationDefaultsHold(t *testing.T) {
	t.Parallel()
	shown, def := load(t, specExample), load(t, "")
	if shown.Mode != def.Mode || shown.KeyPrefix != def.KeyPrefix || shown.Redis != def.Redis || shown.Postgres.Table != def.Postgres.Table || shown.HTTP != def.HTTP {
		t.Errorf("the defaults are %s", def)
	}
	for name, pair := range map[string][2]any{"stream": {shown.Stream, def.Stream}, "blocks": {shown.Blocks, def.Blocks}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s is by default %+v", name, pair[1])
		}
	}
	if shown.Events.Stdout != def.Events.Stdout || shown.Events.Stream != def.Events.Stream || def.Events.OTLP || def.Events.Webhooks != nil {
		t.Errorf("events are by default %+v", def.Events)
	}
}

func TestPolicyAndDecoder(t *testing.T) {
	t.Parallel()
	c := load(t, specExample+`
ipv6_prefix: 64
ipv6_port: port
placeholders: [none, "?"]
limits: {entry_bytes: 1000000, attributes: 200, depth: 9, string_bytes: 100}
escalate: {factor: 1.5, permanent_after: 3}
trusted_proxies: [192.0.2.10, "2001:db8:7::/48"]
`)
	p := c.Policy
	e, err := wire.NewDecoder(c.Decoder).Decode("s", "1-1", []string{"event_type", "x"})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]bool{"192.0.2.10": true, "192.0.2.11": false, "2001:db8:7:1::/64": true} {
		if got := p.Proxies.Holds(checker.Scope{Type: checker.ScopeIP, Value: value}, &e); got != want {
			t.Errorf("%s is a trusted proxy: %t, want %t", value, got, want)
		}
	}
	if p.DryRun || p.BlockSeverity != 8 || p.DefaultTTL != 5*time.Minute || p.StatusCode != 429 || p.Fallback != enforce.Observe || p.Message != wire.DefaultMessage {
		t.Errorf("policy %+v", p)
	}
	want := enforce.ActionConfig{Action: enforce.TempBlock, Scopes: []string{"ip"}, TTL: 15 * time.Minute}
	if got := p.Actions["brute_force_login"]; !reflect.DeepEqual(got, want) {
		t.Errorf("action %+v, want %+v", got, want)
	}
	if p.BlockRules["login_throttle"] != 2*time.Minute || len(p.Defaults) != len(enforce.BuiltinActions()) {
		t.Errorf("block rules %v, defaults %v", p.BlockRules, p.Defaults)
	}
	if want := []string{"user", "username", "session", "ip", "tenant"}; !slices.Equal(p.Blockable, want) {
		t.Errorf("blockable %q, want %q", p.Blockable, want)
	}
	if p.Escalate == nil || p.Escalate.Factor != 1.5 || p.Escalate.PermanentAfter != 3 || p.Escalate.Memory != 24*time.Hour {
		t.Errorf("escalate %+v", p.Escalate)
	}
	wantDecoder := wire.DecoderOptions{
		Limits:     wire.Limits{EntryBytes: 1000000, Attributes: 200, Depth: 9, StringBytes: 100},
		Scopes:     []wire.ScopeSpec{{Name: "tenant", Attributes: []string{"tenant.id"}, Block: true}},
		IPv6Prefix: 64, IPv6Port: wire.PortAlways, Placeholders: []string{"none", "?"},
	}
	if !reflect.DeepEqual(c.Decoder, wantDecoder) {
		t.Errorf("decoder %+v, want %+v", c.Decoder, wantDecoder)
	}
}

// TestDecoderKnowsComparedAttributes: the decoder knows which attributes the configured rules
// compare.
func TestDecoderKnowsComparedAttributes(t *testing.T) {
	t.Parallel()
	c := load(t, "rules: [{name: request_body_threshold, field: order.total}, {name: sensitive_field_change, fields: [email]}, {name: suspicious_proxy_header}]\n")
	for _, want := range []wire.Comparison{
		{Type: "audit.http.request.pre", Attribute: "request.body.order.total"}, {Type: "model.update", Attribute: "changed_fields"}, {Attribute: "trusted_route"},
	} {
		if !slices.Contains(c.Decoder.Comparisons, want) {
			t.Errorf("%+v is not among %+v", want, c.Decoder.Comparisons)
		}
	}
	if c := load(t, "placeholders: []\n"); c.Decoder.Placeholders == nil || c.Decoder.IPv6Port != wire.PortUnknown {
		t.Errorf("decoder %+v", c.Decoder)
	}
}

// TestWindowsAllowForLateness: windows are as large as the configured lateness needs.
func TestWindowsAllowForLateness(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": 5 * time.Minute, "windows: {lateness: 1h}\n": time.Hour} {
		c := load(t, "rules: [{name: brute_force_login}]\n"+text)
		e, err := wire.NewDecoder(c.Decoder).Decode("s", "1-1", []string{"event_type", "auth.login.failed", "srcip", "203.0.113.9"})
		if err != nil {
			t.Fatal(err)
		}
		for rule := range c.RuleSet.For(&e) {
			if got := rule.Plan(&e, nil)[0].Spec.Lateness; got != want {
				t.Errorf("%q: lateness %s, want %s", text, got, want)
			}
		}
	}
}

func TestPolicyVariants(t *testing.T) {
	t.Parallel()
	c := load(t, `
mode: observe
stream: {event_time: event}
scopes: [{name: zone, attributes: [z], block: true}, {name: area, attributes: [a], block: true}, {name: shop, attributes: [s]}]
blocks: {precedence: [area, ip], block_severity: -1, default_action: alert}
rules: [{name: brute_force_login}]
actions: {brute_force_login: persist_block}
`)
	if !c.Policy.DryRun || c.Policy.BlockSeverity != -1 || c.Policy.Fallback != enforce.Alert || c.Policy.Escalate != nil || !c.Decoder.OwnTime {
		t.Errorf("policy %+v, decoder %+v", c.Policy, c.Decoder)
	}
	if want := []string{"area", "ip", "user", "username", "session", "zone"}; !slices.Equal(c.Policy.Blockable, want) {
		t.Errorf("blockable %q, want %q", c.Policy.Blockable, want)
	}
	if got := c.Policy.Actions["brute_force_login"]; got.Action != enforce.PersistBlock {
		t.Errorf("action by name alone: %+v", got)
	}
}

// TestEmptyConfigurationIsDefaults: no file, an empty one, and keys without a value are the
// defaults.
func TestEmptyConfigurationIsDefaults(t *testing.T) {
	t.Parallel()
	want := defaults("worker-1")
	texts := map[string]string{
		"empty": "", "comments": "# nothing\n", "document": "---\n", "byte order mark": "\ufeffmode: enforce\n",
		"empty sections": "redis:\nstream:\nrules:\nactions: ~\nmode: null\n",
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := load(t, text)
			if got, want := c.Effective(), want.Effective(); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
	c, err := Load("", options())
	if err != nil {
		t.Fatal(err)
	}
	if c.Effective() != want.Effective() || c.File != "" {
		t.Errorf("without a file:\n%s", c)
	}
	if c.Redis.URL != "redis://localhost:6379/0" || c.Postgres.URL != "" || c.Stream.Block != time.Second || c.Policy == nil || c.RuleSet == nil {
		t.Errorf("defaults %+v", c)
	}
}

func TestLoadReadsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "my.yaml")
	if err := os.WriteFile(path, []byte("key_prefix: mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	if c.KeyPrefix != "mine" || c.File != path || c.Stream.Consumer != host {
		t.Errorf("key_prefix %q, file %q, consumer %q", c.KeyPrefix, c.File, c.Stream.Consumer)
	}
}

func TestLoadUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# filling\n", strictconfig.MaxFile/10+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "there is no such file; name it with --config",
		dir:                             "can't be read: is a directory",
		large:                           "is larger than 1048576 bytes",
	} {
		if _, err := Load(path, options()); err == nil || err.Error() != path+": "+want {
			t.Errorf("error %v, want %s: %s", err, path, want)
		}
	}
}

func TestLocate(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := Locate(""); got != "" {
		t.Errorf("without a file: %q", got)
	}
	if got := Locate("x.yaml"); got != "x.yaml" {
		t.Errorf("named: %q", got)
	}
	if err := os.WriteFile(DefaultFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Locate(""); got != DefaultFile {
		t.Errorf("with a file: %q", got)
	}
}

// TestFlowScalarsKeepColons: the colons that the YAML library takes for the ends of keys.
func TestFlowScalarsKeepColons(t *testing.T) {
	t.Parallel()
	c := load(t, `{stream: {names: [audit:events, a:b:c, "x:y"], group: g:1}, allowlist: [::1, fe80::/10, user:1,
  2001:db8::/32, user:a], redis: {url: redis://h:1/0}, events: {stream: s:t, resource: {a.b: c:d}}}`)
	if want := []string{"audit:events", "a:b:c", "x:y"}; !slices.Equal(c.Stream.Names, want) {
		t.Errorf("names %q, want %q", c.Stream.Names, want)
	}
	if want := []string{"::1", "fe80::/10", "user:1", "2001:db8::/32", "user:a"}; !slices.Equal(c.Allowlist, want) {
		t.Errorf("allowlist %q, want %q", c.Allowlist, want)
	}
	if c.Stream.Group != "g:1" || c.Redis.URL != "redis://h:1/0" || c.Events.Stream != "s:t" || c.Events.Resource["a.b"] != "c:d" {
		t.Errorf("%+v %+v %+v", c.Stream, c.Redis, c.Events)
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	c := load(t, `
rules: [{name: brute_force_login}, {name: repeated_client_error, threshold: &t 7}, {name: resource_enumeration, threshold: *t}]
actions:
  brute_force_login: &hard {action: temp_block, scopes: [ip, username], ttl: 1d12h}
  repeated_client_error: *hard
`)
	got := c.Actions["repeated_client_error"]
	if !reflect.DeepEqual(got, c.Actions["brute_force_login"]) || got.TTL != 36*time.Hour {
		t.Errorf("action by alias: %+v", got)
	}
	for _, p := range c.Rules[2].Params() {
		if p.Key == "threshold" && p.Value != 7 {
			t.Errorf("threshold by alias: %v", p.Value)
		}
	}
}

func TestRuleParams(t *testing.T) {
	t.Parallel()
	c := load(t, `
rules:
  - name: repeated_route
    threshold: 3
    block_ttl: 90s
    cooldown: 1h
  - {name: request_body_threshold, threshold: 12345678901234567890.5}
`)
	route := map[string]any{}
	for _, p := range c.Rules[0].Params() {
		route[p.Key] = p.Value
	}
	if route["threshold"] != 3 || route["block_ttl"] != 90*time.Second || route["cooldown"] != time.Hour || route["severity"] != 7 || route["where"] != nil || route["mode"] != "enforce" || len(route) != 12 {
		t.Errorf("parameters %v", route)
	}
	if !strings.Contains(c.Effective(), `threshold: "12345678901234567890.5"`) {
		t.Errorf("the number was not kept exactly:\n%s", c)
	}
}
