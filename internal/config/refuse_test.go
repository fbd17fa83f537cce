package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/strictconfig"
)

// refusals are files and all the errors they give. A test of the schema uses
// them, too: noSchema marks what a schema can't say.
var refusals = map[string]struct {
	text     string
	want     string // lines without "detector.yaml:"
	noSchema bool
}{
	"unknown key":         {"mode: enforce\n\nkey_prefx: x\n", `3: key_prefx: is not a known key; did you mean "key_prefix"?`, false},
	"unknown, far":        {"colour: red\n", `1: colour: is not a known key`, false},
	"unknown nested":      {"stream:\n  group: a\n  batchsize: 5\n", `3: stream.batchsize: is not a known key; did you mean "batch_size"?`, false},
	"unknown in flow":     {"stream: {\n  group: a,\n  retentoin: 5}\n", `3: stream.retentoin: is not a known key; did you mean "retention"?`, false},
	"unknown, CRLF":       {"mode: enforce\r\n\r\nfoo: 1\r\n", `3: foo: is not a known key`, false},
	"unknown after block": {"blocks:\n  message: |\n    a\n\n    b\n  # c\n  massage: x\n", `7: blocks.massage: is not a known key; did you mean "message"?`, false},
	"unknown parameter": {
		"rules:\n- name: brute_force_login\n  treshold: 5\n",
		`3: rules[0].treshold: is not a known key; did you mean "threshold"?`, false,
	},
	"duplicate key":       {"mode: enforce\nlog: {level: info}\nmode: observe\n", `3: mode: was given already in line 1; keep one`, true},
	"duplicate nested":    {"log:\n  level: info\n  level: debug\n", `3: log.level: was given already in line 2; keep one`, true},
	"duplicate parameter": {"rules:\n- name: brute_force_login\n  window: 5m\n  window: 6m\n", `4: rules[0].window: was given already in line 3; keep one`, true},
	"duplicate action": {
		"rules: [{name: login_throttle}]\nactions:\n  login_throttle: alert\n  login_throttle: observe\n",
		`4: actions.login_throttle: was given already in line 3; keep one`, true,
	},

	"text for number":    {"stream:\n  batch_size: many\n", `2: stream.batch_size: "many" is not a whole number (without quotes)`, false},
	"quoted number":      {"stream:\n  batch_size: \"5\"\n", `2: stream.batch_size: "5" is not a whole number (without quotes)`, false},
	"fraction":           {"stream: {batch_size: 5.5}\n", `1: stream.batch_size: 5.5 is not a whole number (without quotes)`, false},
	"octal":              {"stream: {batch_size: 0777}\n", `1: stream.batch_size: 0777 is not a whole number (without quotes)`, true},
	"hexadecimal":        {"stream: {batch_size: 0x10}\n", `1: stream.batch_size: 0x10 is not a whole number (without quotes)`, true},
	"number too large":   {"stream: {batch_size: 99999999999999999999999}\n", `1: stream.batch_size: "99999999999999999999999" is not a whole number (without quotes)`, false},
	"number for text":    {"key_prefix: 5\n", `1: key_prefix: 5 is not text; put it in quotes`, false},
	"bool for text":      {"key_prefix: true\n", `1: key_prefix: true is not text; put it in quotes`, false},
	"text for bool":      {"events: {stdout: yes}\n", `1: events.stdout: "yes" is not true or false (without quotes)`, false},
	"number for bool":    {"events: {stdout: 1}\n", `1: events.stdout: 1 is not true or false (without quotes)`, false},
	"infinite":           {"escalate: {factor: .inf}\n", `1: escalate.factor: .inf is not a number (without quotes)`, true},
	"text for list":      {"allowlist: 10.0.0.1\n", `1: allowlist: is a plain value, not a list; write [a, b]`, false},
	"mapping for list":   {"rules: {name: brute_force_login}\n", `1: rules: is a mapping, not a list; write [a, b]`, false},
	"list for mapping":   {"stream: [a]\n", `1: stream: is a list, not a mapping; write key: value`, false},
	"list for text":      {"stream: {group: [a]}\n", `1: stream.group: is a list, not text`, false},
	"mapping for number": {"ipv6_prefix: {bits: 64}\n", `1: ipv6_prefix: is a mapping, not a whole number (without quotes)`, false},
	"list at the top":    {"- mode: enforce\n", `1: is a list, not a mapping; write key: value`, false},
	"text at the top":    {"enforce\n", `1: is a plain value, not a mapping; write key: value`, false},
	"rule by name alone": {"rules:\n- brute_force_login\n", `2: rules[0]: is a plain value, not a mapping; write name: and the rule's parameters`, false},
	"empty element":      {"allowlist:\n- 10.0.0.1\n-\n", `3: allowlist[1]: has no value`, false},
	"empty entry":        {"rules: [{name: login_throttle}]\nactions:\n  login_throttle:\n", `3: actions.login_throttle: has no value`, false},
	"number as key":      {"actions: {5: alert}\n", `1: actions: has a key that is not plain text (5)`, true},
	"several at once":    {"ipv6_prefix: 0\nmode: deny\nstream: {group: \"\"}\n", "1: ipv6_prefix: 0 is not between 32 and 128\n2: mode: \"deny\" is not one of enforce, observe\n3: stream.group: is empty", false},
	"URL one level high": {"redis: redis://:hunter2@h\n", `1: redis: is a plain value, not a mapping; write key: value`, false},
	"merge key":          {"log: &l {level: info}\nshutdown:\n  <<: *l\n", `3: shutdown: has a key that is not plain text (<<)`, true},
	"tag":                {"mode: !!str enforce\n", `1: mode: carries a YAML tag (!!str); leave it out`, true},
	"alias of nothing":   {"mode: *m\n", `1: mode: no anchor "m" stands before this alias`, true},
	"alias in itself":    {"rules: &r [*r]\n", `1: rules[0]: is a list, not a mapping; write name: and the rule's parameters`, true},
	"two documents":      {"mode: enforce\n---\nmode: observe\n", `3: a second document begins; keep one`, true},
	"syntax":             {"stream:\n  group: a\n   names: [b]\n", `2: is not YAML: mapping value is not allowed in this context; check the indentation and the quotes from here upwards`, true},
	"unclosed":           {"mode: enforce\nkey_prefix: \"a\n", `2: is not YAML: could not find end character of double-quoted text; check the indentation and the quotes from here upwards`, true},
	"tab":                {"stream:\n\tgroup: a\n", `2: is not YAML: found character '	' that cannot start any token; check the indentation and the quotes from here upwards`, true},
	"NUL":                {"mode: enforce\n# \x00\n", `2: holds bytes that are not UTF-8 text; save the file as UTF-8`, true},
	"not UTF-8":          {"mode: enforce\n\nkey_prefix: \"\xff\"\n", `3: holds bytes that are not UTF-8 text; save the file as UTF-8`, true},
	"deep":               {"mode:\n  " + strings.Repeat("[", 100) + strings.Repeat("]", 100), `2: collections nest more than 64 deep`, true},
	"deep entries":       {strings.Repeat("- ", 100) + "a", `1: collections nest more than 64 deep`, true},

	"duration":           {"blocks:\n  default_ttl: soon\n", `2: blocks.default_ttl: "soon" is not a duration such as 30s, 5m or 1h30m`, false},
	"duration by number": {"blocks:\n  default_ttl: 300\n", `2: blocks.default_ttl: 300 has no unit; write it as 300s, 300m or 300h`, false},
	"duration, long":     {"stream: {block: 2s}\n", `1: stream.block: 2s is not between 1ms and 1s`, true},
	"duration, negative": {"blocks: {default_ttl: -5m}\n", `1: blocks.default_ttl: -5m is not between 1s and 8760h`, false},
	"duration, overflow": {"blocks: {default_ttl: 99999999999h}\n", `1: blocks.default_ttl: "99999999999h" is not a duration such as 30s, 5m or 1h30m`, true},
	"days":               {"blocks: {default_ttl: 366d}\n", `1: blocks.default_ttl: 366d is not between 1s and 8760h`, true},
	"retention":          {"stream: {retention: 30s}\n", `1: stream.retention: 30s is neither 0 nor between 1m and 8760h`, true},
	"block rule":         {"rules: [{name: login_throttle}]\nblock_rules: {login_throttle: 0s}\n", `2: block_rules.login_throttle: 0s is not between 1s and 8760h`, true},
	"factor":             {"escalate: {factor: 0.5}\n", `1: escalate.factor: 0.5 is not between 1 and 100`, false},
	"permanent_ip":       {"escalate:\n  factor: 2\n  permanent_ip: true\n", `3: escalate.permanent_ip: does nothing without escalate.permanent_after; set both`, true},
	"status":             {"blocks: {status_code: 200}\n", `1: blocks.status_code: 200 is not between 400 and 599`, false},
	"log level":          {"log: {level: warning}\n", `1: log.level: "warning" is not one of debug, info, warn, error`, false},
	"message, empty":     {"blocks: {message: \"\"}\n", `1: blocks.message: is empty; write the message for a denied client`, false},
	"message, long":      {"blocks: {message: " + strings.Repeat("x", 1025) + "}\n", `1: blocks.message: is not text of up to 1024 bytes`, false},

	"prefix":              {"key_prefix: \"a b\"\n", `1: key_prefix: "a b" is not a key prefix; use 1 to 128 letters, digits or any of -_.:/ and at most one {hash tag}`, false},
	"prefix with braces":  {"key_prefix: \"{a}{b}\"\n", `1: key_prefix: "{a}{b}" is not a key prefix; use 1 to 128 letters, digits or any of -_.:/ and at most one {hash tag}`, false},
	"no streams":          {"stream: {names: []}\n", `1: stream.names: is empty; name at least one stream`, false},
	"stream twice":        {"stream:\n  names:\n  - a\n  - a\n", `4: stream.names[1]: "a" is there twice; keep one`, false},
	"stream with blank":   {"stream: {names: [a b]}\n", `1: stream.names[0]: "a b" holds blanks or characters that can't be printed`, true},
	"own dead letters":    {"stream: {names: [a, \"a:dead\"]}\n", `1: stream.names[1]: is the dead-letter stream of "a"; requeue dead letters with detector dead-letters requeue`, true},
	"events to the dead":  {"events: {stream: \"audit:events:dead\"}\n", `1: events.stream: is the dead-letter stream of "audit:events"; name another`, true},
	"long group":          {"stream: {group: " + strings.Repeat("g", 129) + "}\n", `1: stream.group: is longer than 128 bytes`, false},
	"resource":            {"events: {resource: {service.name: x}}\n", `1: events.resource.service.name: is what events.service_name sets; use that`, true},
	"webhook, no URL":     {"events:\n  webhooks:\n  - secret: s\n", `3: events.webhooks[0].url: is missing; write https://host/path`, false},
	"webhook scheme":      {"events:\n  webhooks:\n  - url: ftp://u:hunter2@h/x\n", `3: events.webhooks[0].url: is not a URL that events can be posted to; write https://host/path and percent-encode special characters`, false},
	"webhook, no host":    {"events: {webhooks: [{url: \"https:///hunter2\"}]}\n", `1: events.webhooks[0].url: is not a URL that events can be posted to; write https://host/path and percent-encode special characters`, true},
	"webhook, unescaped":  {"events: {webhooks: [{url: \"https://u:1/hunter2@h\"}]}\n", `1: events.webhooks[0].url: is not a URL that events can be posted to; write https://host/path and percent-encode special characters`, true},
	"webhook key":         {"events:\n  webhooks:\n  - url: https://h\n    event: []\n", `4: events.webhooks[0].event: is not a known key; did you mean "events"?`, false},
	"webhook secret":      {"events:\n  webhooks:\n  - url: https://h\n    secret: 2123\n", `4: events.webhooks[0].secret: is not text; put it in quotes`, false},
	"webhook secret form": {"events:\n  webhooks:\n  - url: https://h\n    secret: whsec_hunter2\n", `4: events.webhooks[0].secret: begins with whsec_, but what follows is not base64; make one with: echo whsec_$(openssl rand -base64 32)`, true},
	"webhook timeout":     {"events:\n  webhooks:\n  - {url: https://h, timeout: 1m}\n", `3: events.webhooks[0].timeout: 1m is not between 100ms and 30s`, true},
	"webhook no timeout":  {"events:\n  webhooks:\n  - {url: https://h, timeout: 0s}\n", `3: events.webhooks[0].timeout: 0s is not between 100ms and 30s`, true},
	"webhook event":       {"events:\n  webhooks:\n  - url: https://h\n    events:\n    - audit.enforcement.alert\n    - audit.enforcement.alerts\n", `6: events.webhooks[0].events[1]: "audit.enforcement.alerts" is not a type of enforcement event; use one of audit.enforcement.alert, audit.enforcement.blocked, audit.enforcement.block_applied, audit.enforcement.block_revoked, audit.enforcement.evaluation_failed, or the beginning of some and *; did you mean "audit.enforcement.alert"?`, false},
	"webhook prefix":      {"events: {webhooks: [{url: https://h, events: [audit.rule.*]}]}\n", `1: events.webhooks[0].events[0]: "audit.rule.*" is not a type of enforcement event; use one of audit.enforcement.alert, audit.enforcement.blocked, audit.enforcement.block_applied, audit.enforcement.block_revoked, audit.enforcement.evaluation_failed, or the beginning of some and *`, true},
	"webhooks, many":      {"events: {webhooks: [" + strings.Repeat("{url: https://h}, ", 17) + "]}\n", `1: events.webhooks: lists more than 16 webhooks`, false},
	"address":             {"http: {addr: 9090}\n", `1: http.addr: 9090 is not text; put it in quotes`, false},
	"address, no port":    {"http: {addr: localhost}\n", `1: http.addr: "localhost" is not an address to listen on; write host:port such as 127.0.0.1:9090, or "" for none`, false},
	"address, bad port":   {"http: {addr: \"localhost:http\"}\n", `1: http.addr: "localhost:http" is not an address to listen on; write host:port such as 127.0.0.1:9090, or "" for none`, false},
	"overload":            {"stream:\n  overload: drop\n", `2: stream.overload: "drop" is not one of in_order, shed`, false},
	"max lag":             {"stream: {max_lag: 500ms}\n", `1: stream.max_lag: 500ms is neither 0 nor between 1s and 168h`, true},
	"shed without a lag":  {"stream:\n  group: g\n  overload: shed\n", `3: stream.overload: is shed, which needs stream.max_lag; set it to the age at which entries are late, such as 30s`, true},
	"shed nothing":        {"stream:\n  max_lag: 30s\n  overload: shed\n  shed_types: []\n", `4: stream.shed_types: is empty, so that overload: shed has nothing to shed; name event types that no rule needs`, true},
	"shed everything":     {"stream:\n  shed_types: [\"*\"]\n", `2: stream.shed_types[0]: is every type, attacks included; name event types that no rule needs`, false},
	"shed type, star":     {"stream:\n  shed_types:\n  - http.response.success\n  - \"http.*.success\"\n", `4: stream.shed_types[1]: "http.*.success" is neither an event type nor the beginning of some and *`, false},
	"shed type, blank":    {"stream: {shed_types: [a b]}\n", `1: stream.shed_types[0]: "a b" holds blanks or characters that can't be printed`, true},
	"shed type, number":   {"stream: {shed_types: [5]}\n", `1: stream.shed_types[0]: 5 is not text; put it in quotes`, false},
	"shed types, many":    {"stream: {shed_types: [" + strings.Repeat("a, ", 65) + "]}\n", `1: stream.shed_types: lists more than 64 types`, false},
	"sigma":               {"mode: enforce\nsigma: [rules.d/*.yml]\n", `2: sigma: sigma rules are not supported yet; remove the key or leave the list empty`, false},
	"table":               {"postgres: {table: \"blocks; drop table x\"}\n", `1: postgres.table: "blocks; drop table x" is not a table name; write table or schema.table, in letters, digits and _`, false},
	"temporary, nowhere":  {"blocks: {temp_blocks_in_postgres: true}\n", `1: blocks.temp_blocks_in_postgres: needs postgres.url; set it or leave this out`, true},
	"redis scheme":        {"redis:\n  url: http://:hunter2@h/0\n", `2: redis.url: is not a Redis URL; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master) and percent-encode special characters of the password`, false},
	"redis empty":         {"redis: {url: \"\"}\n", `1: redis.url: is empty; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master)`, false},
	"redis unescaped":     {"redis: {url: \"redis://u:12/hunter2@h:6379/0\"}\n", `1: redis.url: is not a Redis URL; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master) and percent-encode special characters of the password`, true},
	"redis database":      {"redis: {url: \"redis://:hunter2@h/first\"}\n", `1: redis.url: is not a Redis URL; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master) and percent-encode special characters of the password`, true},
	"redis option":        {"redis: {url: \"redis://:hunter2@h/0?x=1\"}\n", `1: redis.url: is not a Redis URL; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master) and percent-encode special characters of the password`, true},
	"cluster database":    {"redis: {url: \"redis+cluster://h,g/2\"}\n", `1: redis.url: is not a Redis URL; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master) and percent-encode special characters of the password`, true},
	"TLS without rediss":  {"redis:\n  tls:\n    server_name: r\n", `2: redis.tls: needs a URL that begins with rediss`, true},
	"TLS file":            {"redis:\n  url: rediss://h\n  tls: {ca_file: /nonexistent/ca.pem}\n", `3: redis.tls.ca_file: can't be read: no such file or directory`, true},
	"TLS key alone":       {"redis: {url: rediss://h, tls: {key_file: k.pem}}\n", `1: redis.tls.key_file: needs a cert_file; set both`, true},
	"TLS certificate":     {"redis: {url: rediss://h, tls: {cert_file: c.pem}}\n", `1: redis.tls.cert_file: needs a key_file; set both`, true},
	"TLS pair":            {"redis: {url: rediss://h, tls: {cert_file: /nonexistent/c, key_file: /nonexistent/k}}\n", `1: redis.tls.cert_file: can't be used with the key_file: no such file or directory`, true},
	"postgres":            {"postgres: {url: \"host=db password=hunter2\"}\n", `1: postgres.url: is not a Postgres URL; write postgres://user:password@host:5432/database and percent-encode special characters of the password`, false},
	"TLS skip_verify":     {"redis: {url: \"rediss://h?skip_verify=true\", tls: {server_name: r}}\n", `1: redis.tls: can't go with skip_verify in the URL; leave one out`, true},
	"Sentinel, no master": {"redis: {url: \"redis+sentinel://:hunter2@h\"}\n", `1: redis.url: is not a Redis URL; write redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master) and percent-encode special characters of the password`, true},
	"postgres parameter":  {"postgres: {url: \"postgres://u:hunter2@h/db?sslmode=maybe\"}\n", `1: postgres.url: has a host, a port or a parameter (such as sslmode) that can't be used; write postgres://user:password@host:5432/database`, true},
	"another driver's":    {"postgres: {url: \"postgres://u:hunter2@h/db?pgbouncer=true\"}\n", `1: postgres.url: has the parameter pgbouncer, which Postgres doesn't know; write default_query_exec_mode=exec for a pooler that gives a connection for each transaction`, true},
	"another driver's, 2": {"postgres: {url: \"postgres://u:hunter2@h/db?currentSchema=app\"}\n", `1: postgres.url: has the parameter currentSchema, which Postgres doesn't know; write options=-csearch_path%3Dname`, true},
	"postgres, unescaped": {"postgres: {url: \"postgres://u:1#hunter2@h/db\"}\n", `1: postgres.url: is not a Postgres URL; write postgres://user:password@host:5432/database and percent-encode special characters of the password`, true},
}

// ruleRefusals are those about rules, actions and scopes.
var ruleRefusals = map[string]struct {
	text     string
	want     string
	noSchema bool
}{
	"unknown rule":     {"rules:\n- name: brute_force_loggin\n", `2: rules[0].name: "brute_force_loggin" is not a rule; name one of brute_force_login, login_throttle, repeated_client_error, repeated_route, request_body_threshold, resource_enumeration, sensitive_field_change, suspicious_proxy_header; did you mean "brute_force_login"?`, false},
	"nameless rule":    {"rules:\n- threshold: 5\n", `2: rules[0].name: is missing; name one of brute_force_login, login_throttle, repeated_client_error, repeated_route, request_body_threshold, resource_enumeration, sensitive_field_change, suspicious_proxy_header`, false},
	"rule twice":       {"rules:\n- name: brute_force_login\n- name: login_throttle\n- name: brute_force_login\n", `4: rules[2].name: "brute_force_login" is there twice; keep one`, true},
	"threshold":        {"rules:\n- name: brute_force_login\n  window: 5m\n  threshold: 0\n", `4: rules[0].threshold: 0 is not between 1 and 10000`, false},
	"threshold type":   {"rules:\n- name: brute_force_login\n  threshold: five\n", `3: rules[0].threshold: "five" is not a whole number (without quotes)`, false},
	"window":           {"rules:\n- name: brute_force_login\n  window: 10ms\n", `3: rules[0].window: 10ms is not between 1s and 744h0m0s`, true},
	"success_clears":   {"rules:\n- name: brute_force_login\n  success_clears: all\n", `3: rules[0].success_clears: "all" is not one of user, address, never`, false},
	"severity":         {"rules:\n- {name: login_throttle, severity: 11}\n", `2: rules[0].severity: 11 is not between 0 and 10`, false},
	"cooldown":         {"rules:\n- {name: login_throttle, cooldown: 0s}\n", `2: rules[0].cooldown: 0s is not between 1s and 744h`, true},
	"regex":            {"rules:\n- name: login_throttle\n  paths:\n  - ^/login\n  - ^/(log\n", "5: rules[0].paths[1]: error parsing regexp: missing closing ): `^/(log`", true},
	"backreference":    {"rules:\n- name: repeated_route\n  paths:\n  - (a)\\1\n", "4: rules[0].paths[0]: error parsing regexp: invalid escape sequence: `\\1`", true},
	"lookahead":        {"rules:\n- name: request_body_threshold\n  paths: [a, \"^/(?!login)\"]\n", "3: rules[0].paths[1]: error parsing regexp: invalid or unsupported Perl syntax: `(?!`", true},
	"decision":         {"rules:\n- {name: repeated_route, decision: ban}\n", `2: rules[0].decision: "ban" is not one of observe, alert, temp_block, persist_block, block`, false},
	"block_ttl":        {"rules:\n- {name: repeated_route, block_ttl: -1m}\n", `2: rules[0].block_ttl: -1m is not between 1s and 8760h`, false},
	"no fields":        {"rules:\n- name: sensitive_field_change\n", `2: rules[0].fields: is empty, so the rule could never match`, false},
	"decimal":          {"rules:\n- name: request_body_threshold\n  threshold: lots\n", `3: rules[0].threshold: "lots" is not a decimal number`, true},
	"unknown type":     {"rules:\n- {name: mine, type: brute_force}\n", `2: rules[0].type: "brute_force" is not a type of rules; write one of brute_force_login, distinct, login_throttle, repeated_client_error, repeated_route, request_body_threshold, resource_enumeration, sensitive_field_change, suspicious_proxy_header, threshold`, false},
	"name of another":  {"rules:\n- {name: login_throttle, type: brute_force_login}\n", `2: rules[0].name: "login_throttle" means something else; choose another name`, true},
	"operators' name":  {"rules:\n- {name: manual, type: brute_force_login}\n", `2: rules[0].name: "manual" means something else; choose another name`, true},
	"malformed name":   {"rules:\n- {name: My rule, type: brute_force_login}\n", `2: rules[0].name: "My rule" is not a name: write up to 64 of a to z, 0 to 9, _, - and ., a letter first`, false},
	"action twice":     {"rules:\n- {name: brute_force_login, action: alert}\nactions: {brute_force_login: observe}\n", `2: rules[0].action: is in actions.brute_force_login as well; keep one of the two`, true},
	"rule's action":    {"rules:\n- name: brute_force_login\n  action: {action: temp_block, scopes: [nonsense]}\n", `3: rules[0].action.scopes[0]: "nonsense" is not a scope; use one of user, username, session, ip or list it in scopes`, true},
	"type as a name":   {"rules:\n- {name: threshold, where: {a: b}, group_by: [c], threshold: 2, window: 1m}\n", `2: rules[0].name: "threshold" is a type; give the rule a name of its own and write type: threshold`, false},
	"where":            {"rules:\n- name: brute_force_login\n  where:\n    user.name: x\n    source.address|cdr: 10.0.0.0/8\n", "5: rules[0].where: unknown modifier \"cdr\"; did you mean \"cidr\"? (known: all, base64, base64offset, cased, cidr, contains, day, dotall, endswith, exists, expand, fieldref, gt, gte, hour, i, ignorecase, lt, lte, m, minute, month, multiline, neq, re, s, startswith, utf16, utf16be, utf16le, week, wide, windash, year)", true},
	"where of text":    {"rules:\n- {name: brute_force_login, where: ''}\n", `2: rules[0].where: a selection is empty`, false},
	"unless":           {"rules:\n- {name: brute_force_login, unless: {a|re: '('}}\n", "2: rules[0].unless: regular expression \"(\" cannot be used (RE2 knows no look-around and no back-references): missing closing )", true},
	"two rules wrong":  {"rules:\n- {name: repeated_route, threshold: 0}\n- {name: nope}\n- {name: login_throttle, x: 1}\nactions: {nope: alert}\n", "2: rules[0].threshold: 0 is not between 1 and 10000\n3: rules[1].name: \"nope\" is not a rule; name one of brute_force_login, login_throttle, repeated_client_error, repeated_route, request_body_threshold, resource_enumeration, sensitive_field_change, suspicious_proxy_header\n4: rules[2].x: is not a known key", false},
	"action's rule":    {"rules:\n- name: brute_force_login\nactions:\n  brute_force: alert\n", `4: actions.brute_force: no rule of that name is listed in rules; list it there or remove this`, true},
	"unlisted rule":    {"actions:\n  login_throttle: alert\n", `2: actions.login_throttle: no rule of that name is listed in rules; list it there or remove this`, true},
	"block rule's":     {"rules: [{name: brute_force_login}]\nblock_rules:\n  brute_force_logins: 5m\n", `3: block_rules.brute_force_logins: no rule of that name is listed in rules; list it there or remove this; did you mean "brute_force_login"?`, true},
	"unknown action":   {"rules: [{name: login_throttle}]\nactions:\n  login_throttle: {action: bann}\n", `3: actions.login_throttle.action: "bann" is not one of observe, alert, temp_block, persist_block, block`, false},
	"action, short":    {"rules: [{name: login_throttle}]\nactions:\n  login_throttle: ban\n", `3: actions.login_throttle: "ban" is not one of observe, alert, temp_block, persist_block, block`, false},
	"no action":        {"rules: [{name: login_throttle}]\nactions:\n  login_throttle: {ttl: 5m}\n", `3: actions.login_throttle: names no action; write action: observe, alert, temp_block, persist_block or block`, false},
	"action's key":     {"rules: [{name: login_throttle}]\nactions:\n  login_throttle:\n    action: block\n    scope: [ip]\n", `5: actions.login_throttle.scope: is not a known key; did you mean "scopes"?`, false},
	"action's ttl":     {"rules: [{name: login_throttle}]\nactions:\n  login_throttle:\n    action: block\n    ttl: 0s\n", `5: actions.login_throttle.ttl: 0s is not between 1s and 8760h`, true},
	"action's status":  {"rules: [{name: login_throttle}]\nactions:\n  login_throttle: {action: block, status_code: 302}\n", `3: actions.login_throttle.status_code: 302 is not between 400 and 599`, false},
	"action's scope":   {"rules: [{name: login_throttle}]\nactions:\n  login_throttle:\n    action: temp_block\n    scopes:\n    - ip\n    - tenannt\nscopes: [{name: tenant, attributes: [t], block: true}]\n", `7: actions.login_throttle.scopes[1]: "tenannt" is not a scope; use one of user, username, session, ip, tenant or list it in scopes; did you mean "tenant"?`, true},
	"action on route":  {"rules: [{name: login_throttle}]\nactions:\n  login_throttle: {action: temp_block, scopes: [route]}\n", `3: actions.login_throttle.scopes[0]: "route" is counted and never blocked; use one of user, username, session, ip`, true},
	"only counted":     {"rules: [{name: login_throttle}]\nactions:\n  login_throttle: {action: temp_block, scopes: [tenant]}\nscopes: [{name: tenant, attributes: [t]}]\n", `3: actions.login_throttle.scopes[0]: "tenant" is only counted; set block: true where it is listed in scopes`, true},
	"scope twice":      {"rules: [{name: login_throttle}]\nactions:\n  login_throttle: {action: temp_block, scopes: [ip, ip]}\n", `3: actions.login_throttle.scopes[1]: "ip" is there twice; keep one`, true},
	"built-in scope":   {"scopes:\n- name: ip\n  attributes: [a]\n", `2: scopes[0].name: "ip" is built in; choose another name`, false},
	"route as scope":   {"scopes:\n- attributes: [a]\n  name: route\n", `3: scopes[0].name: "route" is built in; choose another name`, false},
	"scope's name":     {"scopes: [{name: Tenant, attributes: [a]}]\n", `1: scopes[0].name: "Tenant" is not a scope name; use up to 32 of a-z, 0-9 and _, with a letter first`, false},
	"scope's long":     {"scopes: [{name: " + strings.Repeat("a", 33) + ", attributes: [a]}]\n", `1: scopes[0].name: "` + strings.Repeat("a", 33) + `" is not a scope name; use up to 32 of a-z, 0-9 and _, with a letter first`, false},
	"nameless scope":   {"scopes:\n- attributes: [a]\n", `2: scopes[0].name: is missing; give the scope a name such as tenant`, false},
	"two scopes":       {"scopes:\n- {name: a, attributes: [x]}\n- {name: a, attributes: [y]}\n", `3: scopes[1].name: "a" is there twice; keep one`, true},
	"no attributes":    {"scopes:\n- {name: a}\n", `2: scopes[0].attributes: must list 1 to 16 attributes whose value is the scope's, such as [tenant.id]`, false},
	"precedence":       {"blocks:\n  precedence: [user, address]\n", `2: blocks.precedence[1]: "address" is not a scope; use one of user, username, session, ip or list it in scopes`, true},
	"precedence route": {"blocks:\n  precedence: [route]\n", `2: blocks.precedence[0]: "route" is counted and never blocked; use one of user, username, session, ip`, true},
	"precedence twice": {"blocks:\n  precedence: [ip, ip]\n", `2: blocks.precedence[1]: "ip" is there twice; keep one`, false},
	"allowlist range":  {"allowlist:\n- 10.0.0.0/8\n- 10.0.0.0/33\n", `3: allowlist[1]: "10.0.0.0/33" is neither an address, a range like 10.0.0.0/8, nor a scope like user:1`, true},
	"allowlist name":   {"allowlist: [localhost]\n", `1: allowlist[0]: "localhost" is neither an address, a range like 10.0.0.0/8, nor a scope like user:1`, true},
	"allowlist scope":  {"allowlist:\n- \"usr:1\"\n", `2: allowlist[0]: "usr" is not a scope; use one of user, username, session, ip or list it in scopes; did you mean "user"?`, true},
	"placeholder":      {"placeholders: [none, \" \"]\n", `1: placeholders[1]: is not text of 1 to 64 bytes`, true},
	"ipv6_port":        {"ipv6_port: maybe\n", `1: ipv6_port: "maybe" is not one of unknown, address, port`, true},
	"trusted proxy":    {"trusted_proxies: [10.0.0.0/8, \"user:1\"]\n", `1: trusted_proxies[1]: "user:1" is neither an address nor a range like 10.0.0.0/8`, true},
	"default action":   {"blocks: {default_action: deny}\n", `1: blocks.default_action: "deny" is not one of observe, alert, temp_block, persist_block, block`, false},
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, table := range []map[string]struct {
		text     string
		want     string
		noSchema bool
	}{refusals, ruleRefusals} {
		for name, tt := range table {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c, err := parse("detector.yaml", []byte(tt.text), options())
				if c != nil || err == nil {
					t.Fatalf("accepted, want %s", tt.want)
				}
				var all strictconfig.Errors
				if !errors.As(err, &all) {
					t.Fatalf("error of type %T", err)
				}
				want := "detector.yaml:" + strings.ReplaceAll(strings.ReplaceAll(tt.want, "\n", "\ndetector.yaml:"), "\t", " ")
				if err.Error() != want {
					t.Errorf("got\n%s\nwant\n%s", err, want)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Error("the error repeats a password")
				}
			})
		}
	}
}
