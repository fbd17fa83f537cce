package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

const password = "change-me"

// users are the Redis users of a file of deploy/redis: their rules, word by word, by name.
func users(t *testing.T, file string) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/redis/" + file)
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	for line := range strings.Lines(string(raw)) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "user" {
			t.Fatalf("%s: %q", file, line)
		}
		if name := words[1]; name != "default" && name != "admin" {
			rules[name] = words[4:] // behind "user NAME on >password"
		}
	}
	return rules
}

// denied returns the first of the commands that a user with a rule may not send.
func (e *estate) denied(rule []string, cmds [][]any) []any {
	e.t.Helper()
	ctx := e.t.Context()
	args := []any{"ACL", "SETUSER", "probe", "reset", "on"}
	for _, word := range rule {
		args = append(args, word)
	}
	if err := e.server.Client.Do(ctx, args...).Err(); err != nil {
		e.t.Fatalf("%q: %v", rule, err)
	}
	pipe := e.server.Client.Pipeline()
	replies := make([]*redis.Cmd, len(cmds))
	for i, cmd := range cmds {
		replies[i] = pipe.Do(ctx, append([]any{"ACL", "DRYRUN", "probe"}, cmd...)...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		e.t.Fatal(err)
	}
	for i, reply := range replies {
		if text, _ := reply.Text(); text != "OK" {
			return append([]any{text}, cmds[i]...)
		}
	}
	return nil
}

// weaker are the rules that a word makes if it is left out, and if it lets a user only read or only
// write.
func weaker(rule []string, at int) [][]string {
	rules := [][]string{slices.Delete(slices.Clone(rule), at, at+1)}
	if pattern, both := strings.CutPrefix(rule[at], "~"); both {
		for _, half := range []string{"%R~", "%W~"} {
			less := slices.Clone(rule)
			less[at] = half + pattern
			rules = append(rules, less)
		}
	}
	return rules
}

// TestRedisUsersSuffice: with its user of deploy/redis each program does all that it does, and is
// denied nothing; and of what a user may do nothing can be left out, nor a key be for reading or
// for writing only, without something being denied.
func TestRedisUsersSuffice(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "redis")
	sent := e.jobs(t)
	old := users(t, "users-6.2.acl")
	for user, rule := range users(t, "users.acl") {
		if cmd := e.denied(rule, sent[user]); cmd != nil {
			t.Errorf("%s: denied %.200q", user, cmd)
		}
		if text := strings.Join(old[user], " "); e.denied(old[user], sent[user]) != nil || strings.ContainsAny(text, "%()") ||
			text != strings.NewReplacer("%R~", "~", "%W~", "~").Replace(strings.Join(rule, " ")) {
			t.Errorf("%s: for Redis 6.2 the rule is %s", user, text)
		}
		for i, word := range rule {
			if word == "-@all" || word == "resetchannels" {
				continue // what a new user has anyhow, said for those that are not new
			}
			for _, less := range weaker(rule, i) {
				if e.denied(less, sent[user]) == nil {
					t.Errorf("%s: %s could be less: %q", user, word, less)
				}
			}
		}
	}
}

// TestRedisUsersSufficeInCluster: there they need what docs/explanation/security.md names besides,
// and nothing else.
func TestRedisUsersSufficeInCluster(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "redis+cluster", "--cluster-enabled", "yes")
	client, ctx := e.server.Client, t.Context()
	if err := client.ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		if info := client.ClusterInfo(ctx).Val(); !strings.Contains(info, "cluster_state:ok") {
			return fmt.Errorf("the cluster is not ready: %s", info)
		}
		return nil
	})
	rules := users(t, "users.acl")
	for user, rule := range rules {
		rule = append(rule, inCluster(user)...)
		rules[user] = rule
		args := []any{"ACL", "SETUSER", user}
		for _, word := range rule {
			args = append(args, word)
		}
		if err := client.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	sent := e.jobs(t)
	for user, rule := range rules {
		if cmd := e.denied(rule, sent[user]); cmd != nil {
			t.Errorf("%s: denied %.200q", user, cmd)
		}
		for i := len(rule) - len(inCluster(user)); i < len(rule); i++ {
			if e.denied(weaker(rule, i)[0], sent[user]) == nil {
				t.Errorf("%s doesn't need %s", user, rule[i])
			}
		}
	}
}

// inCluster is what a user needs besides in a Redis Cluster.
func inCluster(user string) []string {
	switch user {
	case "producer":
		return []string{"+cluster|slots"}
	case "ingress-check", "ingress-check-feed":
		return []string{"+cluster|slots", "+get"}
	}
	return []string{"+cluster|slots", "+command"}
}
