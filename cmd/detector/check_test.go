package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

// A report is what check prints as JSON.
type report struct {
	OK     bool      `json:"ok"`
	Checks []finding `json:"checks"`
}

type finding struct{ Check, Status, Found, Advice string }

// examine runs check and returns what it found.
func (in *installation) examine(code int, args ...string) report {
	in.t.Helper()
	var r report
	in.command(append([]string{"check", "--output", "json"}, args...)...).answers(in.t, code).decode(in.t, &r)
	if r.OK != (code == 0) {
		in.t.Errorf("ok is %v with exit code %d", r.OK, code)
	}
	for _, f := range r.Checks {
		if f.Found == "" || (f.Advice == "") != (f.Status == "ok") {
			in.t.Errorf("finding %+v", f)
		}
	}
	return r
}

// has checks that there is a finding whose texts hold found and advice.
func (r report) has(t testing.TB, status, check, found, advice string) finding {
	t.Helper()
	for _, f := range r.Checks {
		if f.Check == check && f.Status == status && strings.Contains(f.Found, found) && strings.Contains(f.Advice, advice) {
			return f
		}
	}
	t.Errorf("no finding %s %s %q %q in %+v", status, check, found, advice, r.Checks)
	return finding{}
}

func TestCheckHealthy(t *testing.T) {
	t.Parallel()
	server, pg := testenv.PrivateRedis(t, "--appendonly", "yes"), testenv.Postgres(t)
	in := install(t, &server.RedisEnv, pg, "rules: [{name: brute_force_login}]\n")
	r := in.examine(0)
	for _, f := range r.Checks {
		if f.Status != "ok" {
			t.Errorf("finding %+v", f)
		}
	}
	r.has(t, "ok", "configuration", in.file+": mode enforce, 1 rule, streams "+in.stream(), "")
	r.has(t, "ok", "redis", "version ", "")
	r.has(t, "ok", "redis persistence", "append-only file", "")
	r.has(t, "ok", "redis memory", "noeviction", "")
	r.has(t, "ok", "redis access", "the user default may do all that the worker does", "")
	r.has(t, "ok", "stream", "nothing was published to it yet", "")
	r.has(t, "ok", "dead letters", "has none", "")
	r.has(t, "ok", "clock", "within 1s", "")
	r.has(t, "ok", "postgres", "table permanent_blocks is up to date", "")
	r.has(t, "ok", "postgres access", "may do all that the worker does", "")
	if keys := server.Client.Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("it left %q", keys)
	}

	text := in.command("check").answers(t, 0).stdout
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "ok    ") {
			t.Errorf("line %q", line)
		}
	}
}

func TestCheckConfiguration(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "mode: observe\n")
	r := in.examine(0)
	r.has(t, "warn", "configuration", "mode is observe: nothing is blocked", "")
	r.has(t, "warn", "configuration", "rules is empty: nothing is detected", "list rules such as brute_force_login")
	r.has(t, "warn", "configuration", "postgres.url is not set", "")
	in.command("check").answers(t, 0).says(t, "warn  configuration", "      → list rules such as brute_force_login\n")
}

// TestCheckShowsUncountedEvents: what a worker could not use, also after it has stopped.
func TestCheckShowsUncountedEvents(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules: [{name: brute_force_login}]\n")
	in.examine(0).has(t, "ok", "uncounted events", "none", "")
	w := in.start()
	var last string
	for range 3 {
		last = in.publish("event_type", "auth.login.failed", "source.address", "203.0.113.9, 10.0.0.5")
	}
	in.publish("event_type", "auth.login.fail", "source.address", "203.0.113.9")
	in.settled("detectors")
	w.stop()
	r := in.examine(0)
	f := r.has(t, "warn", "uncounted events", "3 × auth.login.failed: brute_force_login can't use them (bad_address)", "publish one address in source.address")
	if !strings.Contains(f.Advice, last) {
		t.Errorf("%q does not show the entry %s", f.Advice, last)
	}
	r.has(t, "ok", "uncounted events", "1 × auth.login.fail: no rule asks for this type", "")
}

func TestCheckRedis(t *testing.T) {
	t.Parallel()
	primary := testenv.PrivateRedis(t, "--save", "3600 1", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	_, port, _ := strings.Cut(primary.Addr, ":")
	replica := testenv.PrivateRedis(t, "--replicaof", "127.0.0.1", port)
	clustered := testenv.PrivateRedis(t, "--cluster-enabled", "yes")
	full := testenv.PrivateRedis(t, "--maxmemory", "1kb", "--maxmemory-policy", "noeviction")
	sentinel := fakeRedis(t, "redis_version:7.2.0\r\nredis_mode:sentinel\r\n")
	old := fakeRedis(t, "redis_version:6.0.16\r\n")

	in := install(t, &primary.RedisEnv, nil, "")
	r := in.examine(0)
	r.has(t, "warn", "redis persistence", "snapshots only (save 3600 1)", "set appendonly yes")
	r.has(t, "warn", "redis memory", "maxmemory-policy is allkeys-lru, ", "set maxmemory-policy noeviction")

	r = in.examine(0, "--redis-url", full.URL)
	r.has(t, "warn", "redis persistence", "none: a restart loses", "set appendonly yes")
	r.has(t, "warn", "redis memory", "% of maxmemory used", "raise maxmemory")

	in.examine(1, "--redis-url", replica.URL).has(t, "fail", "redis", "is a replica and takes no writes", "point redis.url at the master")
	in.examine(1, "--redis-url", clustered.URL).has(t, "fail", "redis", "is a node of a Redis Cluster", "redis+cluster://")
	in.examine(1, "--redis-url", sentinel).has(t, "fail", "redis", "is a Sentinel", "redis+sentinel://")
	in.examine(1, "--redis-url", old).has(t, "fail", "redis", "Redis 6.0.16 at "+old+" is too old; 6.2 or later is needed", "")
	r = in.examine(1, "--redis-url", "redis://:hunter2@127.0.0.1:1")
	r.has(t, "fail", "redis", "redis://:xxxxx@127.0.0.1:1 can't be reached; start it or correct redis.url", "")
	in.command("check", "--redis-url", "redis://127.0.0.1:1").answers(t, 1).says(t, "fail  redis")
}

func TestCheckPostgres(t *testing.T) {
	t.Parallel()
	env, migrated, fresh := testenv.Redis(t), testenv.Postgres(t), testenv.Postgres(t)
	in := install(t, env, migrated, "")
	in.examine(1, "--postgres-url", fresh.URL).has(t, "fail", "postgres", "the database lacks migrations; run detector migrate", "")
	in.examine(1, "--postgres-url", "postgres://app:hunter2@127.0.0.1:1/x").has(t, "fail", "postgres", "postgres://app:xxxxx@127.0.0.1:1/x can't be reached", "")

	user := strings.ReplaceAll("reader_"+env.Prefix, "-", "_")
	var schema string
	if err := migrated.Pool.QueryRow(t.Context(), "SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"CREATE ROLE " + user + " LOGIN", "GRANT USAGE ON SCHEMA " + schema + " TO " + user, "GRANT SELECT ON ALL TABLES IN SCHEMA " + schema + " TO " + user,
	} {
		if _, err := migrated.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := migrated.Pool.Exec(context.Background(), "DROP OWNED BY "+user+"; DROP ROLE "+user); err != nil {
			t.Error(err)
		}
	})
	asReader := strings.Replace(migrated.URL, "postgres@", user+"@", 1)
	f := in.examine(1, "--postgres-url", asReader).
		has(t, "fail", "postgres access", "the user "+user+" may not INSERT, UPDATE on permanent_blocks", "as the owner: GRANT INSERT, UPDATE ON permanent_blocks TO ")
	if _, err := migrated.Pool.Exec(t.Context(), strings.TrimPrefix(f.Advice, "as the owner: ")); err != nil {
		t.Fatal(err)
	}
	in.examine(0, "--postgres-url", asReader)
	in.command("block", "user", "42", "--postgres-url", asReader).answers(t, 0) // so that is enough
	in.command("unblock", "user", "42", "--postgres-url", asReader).answers(t, 0)
}

func TestCheckStreams(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules: [{name: brute_force_login}]\n")
	in.publish("event_type", failed, "source.address", attacker)
	in.examine(0).has(t, "ok", "stream", "the group detectors isn't there yet", "")
	w := in.start()
	in.settled("detectors")
	in.examine(0).has(t, "ok", "stream", in.stream()+": group detectors has 0 unread, 0 pending, ", "")
	w.stop()
	in.publish("event_type", failed, "source.address", attacker)
	in.examine(0).has(t, "warn", "stream", "1 unread, 0 pending, 0 of 0 consumers active", "start a detector; entries wait for it")
	in.add(in.stream()+":dead", "f", "v")
	in.examine(0).has(t, "warn", "dead letters", in.stream()+" has 1", "detector dead-letters list")

	if err := in.redis.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: in.stream(), ID: fmt.Sprint(time.Now().Add(time.Hour).UnixMilli()) + "-0", Values: []string{"f", "v"}}).Err(); err != nil {
		t.Fatal(err)
	}
	in.examine(0).has(t, "warn", "stream", in.stream()+": its last ID is ", "RENAME the stream")

	for _, key := range []string{in.enforcement(), in.stream()} {
		if err := in.redis.Client.Set(t.Context(), key, "no stream", 0).Err(); err != nil {
			t.Fatal(err)
		}
		in.examine(1).has(t, "fail", "stream", key+" is a key of another type", "name another, or delete that key")
	}
}

// restricted makes an ACL user and has the installation use it.
func (in *installation) restricted(user, rule string) {
	in.t.Helper()
	args := []any{"ACL", "SETUSER", user, "reset", "on", ">secret"}
	for _, word := range strings.Fields(rule) {
		args = append(args, word)
	}
	if err := in.redis.Client.Do(in.t.Context(), args...).Err(); err != nil {
		in.t.Fatal(err)
	}
	in.env = append(in.env, "WARDSTREAM_REDIS_URL="+strings.Replace(in.redis.URL, "://", "://"+user+":secret@", 1))
}

// advised returns the ACL rule that check advises to a user who may do nothing but ask.
func (in *installation) advised() []string {
	in.t.Helper()
	in.restricted("worker", "+info +client|setname +cluster|slots")
	f := in.examine(1).has(in.t, "fail", "redis access", "may not XREADGROUP, XAUTOCLAIM,", "as an administrator: ACL SETUSER ")
	if !strings.Contains(f.Found, "SET, GETEX,") || !strings.Contains(f.Found, " on "+in.redis.Prefix+":*") {
		in.t.Errorf("found %q", f.Found)
	}
	words := strings.Fields(strings.TrimPrefix(f.Advice, "as an administrator: ACL SETUSER "))
	if len(words) < 2 || words[0] != "worker" || words[1] != "~"+in.stream() {
		in.t.Fatalf("advice %q", f.Advice)
	}
	return words[1:]
}

// TestCheckAdvisedAccessSufficesForCheck: the rule that check advises is enough for check, and
// nothing in it can be spared.
func TestCheckAdvisedAccessSufficesForCheck(t *testing.T) {
	t.Parallel()
	server := testenv.PrivateRedis(t)
	in := install(t, &server.RedisEnv, nil, "")
	in.publish("event_type", "x")
	rule := in.advised()
	in.restricted("worker", strings.Join(rule, " "))
	in.examine(0).has(t, "ok", "redis access", "may do all that the worker does", "")
	for i, word := range rule {
		if strings.HasPrefix(word, "~"+in.stream()) || word == "~"+in.enforcement() {
			continue // they have the prefix of the other keys
		}
		without := slices.Delete(slices.Clone(rule), i, i+1)
		in.restricted("worker", strings.Join(without, " "))
		failed := in.examine(1).Checks
		failed = slices.DeleteFunc(failed, func(f finding) bool { return f.Status != "fail" })
		names := strings.ToUpper(strings.ReplaceAll(word[1:], "|", " "))
		if word == "+client|setname" || word == "+info" {
			names = "run the '" + word[1:] + "' command" // without these nothing else can be asked
		}
		if len(failed) != 1 || word[0] == '+' && !strings.Contains(failed[0].Found, names) || !strings.HasSuffix(failed[0].Advice, strings.Join(rule, " ")) {
			t.Errorf("without %s: %+v", word, failed)
		}
	}
	// An administrator's rights are asked for by a dry run, with the same outcome.
	in.restricted("worker", "~* +@all -xautoclaim -append")
	in.examine(1).has(t, "fail", "redis access", "the user worker may not XAUTOCLAIM on "+in.stream()+"; APPEND on "+server.Prefix+":*", "ACL SETUSER worker ~")

	if keys := server.Client.Keys(t.Context(), server.Prefix+":doctor*").Val(); len(keys) > 0 {
		t.Errorf("it left %q", keys)
	}
}

// TestCheckDocumentedAccessSuffices: the detectors' user of deploy/redis is enough, too, and the
// check does not suggest reading what it only writes.
func TestCheckDocumentedAccessSuffices(t *testing.T) {
	t.Parallel()
	server := testenv.PrivateRedis(t)
	in := install(t, &server.RedisEnv, nil, "")
	in.restricted("detector", strings.Join(users(t, "users.acl")["detector"], " "))
	in.env = append(in.env, "WARDSTREAM_STREAM_NAMES=audit:events", "WARDSTREAM_EVENTS_STREAM=audit:enforcement", "WARDSTREAM_KEY_PREFIX=wardstream")
	for _, f := range in.examine(0).Checks {
		if f.Check == "stream" && f.Status != "ok" {
			t.Errorf("%+v", f)
		}
	}
}

// TestCheckAdvisedAccessSufficesForWorker: a worker whose user may do what check advises is denied
// nothing, whatever it does.
func TestCheckAdvisedAccessSufficesForWorker(t *testing.T) {
	t.Parallel()
	server, pg := testenv.PrivateRedis(t), testenv.Postgres(t)
	in := install(t, &server.RedisEnv, pg, everyJob)
	in.restricted("worker", strings.Join(in.advised(), " "))
	if err := server.Client.Do(t.Context(), "ACL", "LOG", "RESET").Err(); err != nil {
		t.Fatal(err)
	}
	in.command("block", "user", "blocked", "--reason", "so that there is something to copy").answers(t, 0)
	in.everyJob()
	if log, err := server.Client.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(log) > 0 {
		t.Errorf("the worker was denied %v, %v", log, err)
	}
}

// everyJob is the configuration of a worker for the method of that name.
const everyJob = `
rules:
- {name: brute_force_login, threshold: 3}
- {name: resource_enumeration, threshold: 3}
- {name: sensitive_field_change, fields: [email]}
- {name: repeated_client_error}
stream: {claim_min_idle: 100ms, max_deliveries: 2, retention: 1m}
escalate: {factor: 2}
`

// everyJob has a worker do all that workers do to Redis, and stops it.
func (in *installation) everyJob() {
	t, client := in.t, in.redis.Client
	ctx := context.Background()
	for i := range 60 { // an old entry to trim, and later a window to compact
		client.XAdd(ctx, &redis.XAddArgs{Stream: in.stream(), ID: fmt.Sprintf("%d-1", i+1), Values: []any{"event_type", "x"}})
	}
	in.publish("no", "type") // a dead letter
	client.XGroupCreate(ctx, in.stream(), "detectors", "0")
	for range 4 { // left by a consumer that is gone, and delivered too often
		client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "detectors", Consumer: "gone", Streams: []string{in.stream(), ">"}, Count: 10, Block: -1})
		client.XClaim(ctx, &redis.XClaimArgs{Stream: in.stream(), Group: "detectors", Consumer: "gone", Messages: []string{"1-1", "2-1"}})
	}
	w := in.start()
	for i := range 60 {
		in.publish("event_type", failed, "source.address", attacker, "user.name", fmt.Sprint(i))
		in.publish("event_type", "auth.login.success", "source.address", attacker, "user.name", "own") // clears to trim
		in.publish("event_type", "http.response.success", "source.address", visitor, "http.route", "/x/{id}", "url.path", fmt.Sprint("/x/", i))
	}
	in.publish("event_type", "http.response.client_error", "source.address", visitor, "http.response.status_code", "401", "http.route", "/dav")
	in.publish("event_type", "http.response.success", "source.address", visitor, "http.route", "/dav")
	in.publish("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "42")
	in.settled("detectors")
	w.reaches("wardstream_dead_letters_total", 1)
	for _, name := range []string{"wardstream_entries_claimed_total", "wardstream_alerts_total", "wardstream_blocks_total"} {
		if w.metric(name) == 0 {
			t.Errorf("%s is 0, so the test shows too little", name)
		}
	}
	w.reaches("wardstream_reconcile_total", 1, `outcome="rebuilt"`)
	w.stop()
	for _, line := range w.log.all() {
		if strings.Contains(line, `"level":"WARN"`) && !strings.Contains(line, "second look") && !strings.Contains(line, "an event could not be used") && !strings.Contains(line, "became a dead letter") {
			t.Errorf("log: %s", line)
		}
	}
}

// TestCheckUnresponsiveRedisTimesOut: a Redis that accepts connections and never answers fails the
// check.
func TestCheckUnresponsiveRedisTimesOut(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	began := time.Now()
	in.examine(1, "--redis-url", "redis://"+testenv.Silent(t)).has(t, "fail", "redis", "can't be reached", "")
	t.Logf("it took %s", time.Since(began))
}
