package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

// TestEveryCommandExistsInRedis62: whatever the programs send, scripts included, Redis 6.2 has. The
// doctor's ACL DRYRUN is newer, and sent only where there is one. Options of commands are not
// looked at.
func TestEveryCommandExistsInRedis62(t *testing.T) {
	t.Parallel()
	server, pg := testenv.PrivateRedis(t), testenv.Postgres(t)
	in := install(t, &server.RedisEnv, pg, "rules:\n- name: brute_force_login\n- {name: sensitive_field_change, fields: [email]}\n")
	w := in.start()
	g := guard(t, "--redis-url", server.URL, "--postgres-url", pg.URL, "--key-prefix", server.Prefix)
	for range 5 {
		in.publish("event_type", failed, "source.address", attacker)
	}
	in.publish("event_type", "auth.login.success", "source.address", attacker)
	in.publish("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "42")
	in.publish("no", "event")
	g.denies(attacker, "")
	g.denies(visitor, "42")
	in.settled("detectors")
	for _, args := range []string{
		"check", "block ip 203.0.113.77 --ttl 1m", "block user 7", "unblock user 7", "blocks", "blocks user 42",
		"dead-letters list", "dead-letters requeue --all --yes", "dead-letters purge --all --yes",
	} {
		if r := in.command(strings.Fields(args)...); r.code > 1 {
			t.Errorf("%s: exit %d, %s", args, r.code, r.stderr)
		}
	}
	w.stop()

	used := commandsUsed(t, server.Client)
	for _, want := range []string{"xreadgroup", "xack", "evalsha", "hmget", "xgroup|create", "getex"} {
		if !slices.Contains(used, want) {
			t.Errorf("%s was not used: %v", want, used)
		}
	}
	for _, name := range used {
		if since := since(t, server.Client, name); newer(since, 6, 2) && name != "acl|dryrun" {
			t.Errorf("%s is there since Redis %s", name, since)
		}
	}
}

// commandsUsed returns the commands that the server has run.
func commandsUsed(t *testing.T, client *redis.Client) []string {
	t.Helper()
	text, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":"); ok && strings.HasPrefix(line, "cmdstat_") {
			names = append(names, name)
		}
	}
	return names
}

// since asks Redis which version brought a command.
func since(t *testing.T, client *redis.Client, name string) string {
	t.Helper()
	docs, err := client.Do(t.Context(), "COMMAND", "DOCS", name).Result()
	if err != nil {
		t.Fatalf("COMMAND DOCS %s: %v", name, err)
	}
	all, _ := docs.(map[any]any)
	about, _ := all[name].(map[any]any)
	version, ok := about["since"].(string)
	if !ok {
		t.Fatalf("COMMAND DOCS %s doesn't say since when: %v", name, docs)
	}
	return version
}

func newer(version string, major, minor int) bool {
	parts := strings.Split(version, ".")
	a, _ := strconv.Atoi(parts[0])
	b, _ := strconv.Atoi(parts[1])
	return a > major || a == major && b > minor
}
