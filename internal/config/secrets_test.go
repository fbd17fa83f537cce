package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const secret = "hunter2"

func TestRedacted(t *testing.T) {
	t.Parallel()
	for in, want := range map[URL]string{
		"":                                      "",
		"redis://localhost:6379/0":              "redis://localhost:6379/0",
		"redis://:hunter2@h:1/0":                "redis://:xxxxx@h:1/0",
		"redis://user@h:1/0":                    "redis://user@h:1/0",
		"rediss://u:hunter2@h:1?client_name=a":  "rediss://u:xxxxx@h:1?client_name=a",
		"unix://u:hunter2@/run/redis.sock?db=1": "unix://u:xxxxx@/run/redis.sock?db=1",
		"redis://h:1?master_name=m&password=hunter2&username=u":      "redis://h:1?master_name=m&password=xxxxx&username=u",
		"postgres://u:hunter2@h:5432/d?sslmode=require":              "postgres://u:xxxxx@h:5432/d?sslmode=require",
		"postgres://h/d?user=u&password=hunter2&sslpassword=hunter2": "postgres://h/d?password=xxxxx&sslpassword=xxxxx&user=u",
		"postgres://u:1/hunter2@h/d":                                 masked,
		"postgres://u:1?hunter2@h/d":                                 masked,
		"postgres://u:1#hunter2@h/d":                                 masked,
		"host=h password=hunter2":                                    masked,
		"redis://%zz:hunter2@h":                                      masked,
	} {
		if got := in.Redacted(); got != want {
			t.Errorf("%q: %q, want %q", string(in), got, want)
		}
	}
}

// TestConfigKeepsSecrets prints a Config every way that comes to mind.
func TestConfigKeepsSecrets(t *testing.T) {
	t.Parallel()
	c := load(t, `
redis: {url: "redis://user:${PW}@cache:6379/0"}
postgres: {url: "postgres://user:${PW}@db/wardstream?sslpassword=${PW}"}
rules: [{name: brute_force_login}]
`, "PW="+secret)
	if !strings.Contains(string(c.Redis.URL), secret) || !strings.Contains(string(c.Postgres.URL), secret) {
		t.Fatal("the password is not in the URLs at all")
	}
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&logged, nil), slog.NewTextHandler(&logged, nil)} {
		slog.New(h).Info("configured", "config", c, "redis", c.Redis, "url", c.Postgres.URL, "postgres", &c.Postgres)
	}
	asJSON, err := json.Marshal(c.Redis)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(c.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{
		"log": logged.String(), "json": string(asJSON), "yaml": string(asYAML), "effective": c.Effective(),
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", c.Redis), "%s": fmt.Sprintf("%s", c.Postgres),
		"%q": fmt.Sprintf("%q", c.Redis.URL), "%x": fmt.Sprintf("%x", c.Redis.URL),
	}
	for how, text := range printed {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s shows the password: %s", how, text)
		}
	}
	for _, want := range []string{"redis://user:xxxxx@cache:6379/0", "brute_force_login", "worker-1"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log lacks %s: %s", want, logged.String())
		}
	}
}

// TestEffective: what is printed reads back as the same configuration.
func TestEffective(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"defaults": "", "specification": specExample, "every rule": everyRule, "example": readFile(t, "../../detector.example.yaml"),
		"odd text": "blocks: {message: \"$${A} $$$$ '\\\" # : - \\u00e9\\n x\\n\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := load(t, text)
			second := load(t, first.Effective())
			if first.Effective() != second.Effective() {
				t.Errorf("first\n%s\nsecond\n%s", first, second)
			}
			if first.Blocks.Message != second.Blocks.Message || first.Stream.Retention != second.Stream.Retention {
				t.Errorf("%q became %q", first.Blocks.Message, second.Blocks.Message)
			}
		})
	}
}

const everyRule = `
rules:
- {name: brute_force_login, success_clears: never}
- {name: login_throttle, paths: ["^/a$"]}
- {name: repeated_client_error, tags: []}
- {name: repeated_route, block_ttl: 1m}
- {name: request_body_threshold, threshold: 1e3}
- {name: resource_enumeration, cooldown: 1h}
- {name: sensitive_field_change, fields: [a]}
- {name: suspicious_proxy_header, message: "$${x}"}
actions:
  repeated_route: {action: block, scopes: [ip], ttl: 1d, status_code: 403, message: no}
  resource_enumeration: observe
`
