//go:build producers

// Package producers holds an example of a producer for each language. Its tests run them.
package producers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const (
	stream   = "audit:events"
	user     = "producer"
	password = "change-me"
)

// server is a Redis that has the user of producer.acl, written as ACL SETUSER takes it.
func server(t *testing.T) *testenv.PrivateRedisEnv {
	t.Helper()
	raw, err := os.ReadFile("producer.acl")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(raw))
	if len(words) < 3 || words[0] != "user" || words[1] != user {
		t.Fatalf("producer.acl is %q", raw)
	}
	env := testenv.PrivateRedis(t)
	if err := env.Client.ACLSetUser(t.Context(), user, words[2:]...).Err(); err != nil {
		t.Fatal(err)
	}
	return env
}

// A producer is a program and how it is run.
type producer struct {
	command []string
	flat    bool // it publishes in the flat encoding
}

func producers(t *testing.T) map[string]producer {
	t.Helper()
	return map[string]producer{
		"python": {command: []string{python(t), "login_failed.py"}},
		"node":   {command: []string{"node", "login_failed.js"}},
		"ruby":   {command: []string{"ruby", "login_failed.rb"}},
		"php":    {command: []string{"php", "login_failed.php"}},
		"java":   {command: []string{"java", "-cp", compiled(t), "LoginFailed"}},
		"shell":  {command: []string{"./login_failed.sh"}, flat: true},
	}
}

// python finds the interpreter that has redis-py: Debian's, which need not be the first one.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import redis").Run() == nil {
			return name
		}
	}
	t.Fatal("no python3 has redis-py: run make setup-producers")
	return ""
}

// compiled compiles the Java example against the stand-in for Jedis.
func compiled(t *testing.T) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "javac", "-Xlint:all", "-Werror", "-d", out, "-sourcepath", filepath.Join("testdata", "jedis"), "LoginFailed.java")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile LoginFailed.java: %v\n%s", err, text)
	}
	return out
}

func (p producer) run(t *testing.T, addr, password, address, name string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.CommandContext(ctx, p.command[0], append(p.command[1:], address, name)...)
	cmd.Env = append(os.Environ(), "REDIS_HOST="+host, "REDIS_PORT="+port, "REDIS_USERNAME="+user, "REDIS_PASSWORD="+password, "LC_ALL=C.UTF-8")
	return cmd.CombinedOutput()
}

// TestProducers runs each program under the producers' user and reads what it published as the
// detector does.
func TestProducers(t *testing.T) {
	t.Parallel()
	for language, p := range producers(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			env := server(t)
			names := []string{"eve", `é "x" \ {y`}
			if !p.flat {
				names = append(names, `["eve"]`, `{"user.id": "42"}`) // stay what was typed
			}
			for _, name := range names {
				if out, err := p.run(t, env.Addr, password, "203.0.113.9", name); err != nil || len(out) > 0 {
					t.Fatalf("%s: %v\n%s", name, err, out)
				}
			}
			events := published(t, &env.RedisEnv)
			if len(events) != len(names) {
				t.Fatalf("%d entries, want %d", len(events), len(names))
			}
			members := map[string]bool{}
			for i, e := range events {
				if e.Type != "auth.login.failed" || e.Scope("ip") != "203.0.113.9" || e.Scope("username") != names[i] || e.Scope("user") != "" {
					t.Errorf("event %+v, want a failed login of %s", e, names[i])
				}
				if e.Member == e.ID || len(e.Member) < 32 {
					t.Errorf("the event counts under %q: it has no event_id", e.Member)
				}
				members[e.Member] = true
			}
			if len(members) != len(names) {
				t.Errorf("the event_ids repeat: %v", members)
			}
			// No client gets in without a password any more; redis-cli would go on as the default
			// user.
			if err := env.Client.ACLSetUser(t.Context(), "default", "resetpass").Err(); err != nil {
				t.Fatal(err)
			}
			if out, err := p.run(t, env.Addr, "wrong", "203.0.113.9", "eve"); err == nil {
				t.Errorf("with a wrong password it succeeds:\n%s", out)
			}
		})
	}
}

// published reads the stream as the detector does.
func published(t *testing.T, env *testenv.RedisEnv) []event.Event {
	t.Helper()
	entries, err := env.Client.Do(t.Context(), "XRANGE", stream, "-", "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	var out []event.Event
	for _, entry := range entries {
		pair := entry.([]any)
		var fields []string
		for _, text := range pair[1].([]any) {
			fields = append(fields, text.(string))
		}
		e, err := wire.NewDecoder(wire.DecoderOptions{}).Decode(stream, pair[0].(string), fields)
		if err != nil {
			t.Fatalf("%q is a dead letter: %v", fields, err)
		}
		out = append(out, e)
	}
	return out
}

// TestProducerACLAllowsXADDOnly asks Redis of every command it has.
func TestProducerACLAllowsXADDOnly(t *testing.T) {
	t.Parallel()
	env := server(t)
	commands, err := env.Client.Command(t.Context()).Result()
	if err != nil || len(commands) < 200 {
		t.Fatalf("%d commands: %v", len(commands), err)
	}
	always := map[string]bool{"auth": true, "hello": true, "quit": true, "reset": true} // before any log-in, too
	for name, info := range commands {
		arity := max(int(info.Arity), -int(info.Arity))
		args := []any{"ACL", "DRYRUN", user, name}
		for range arity - 1 {
			args = append(args, stream)
		}
		reply, err := env.Client.Do(t.Context(), args...).Text()
		allowed := err == nil && reply == "OK"
		if want := name == "xadd" || always[name]; allowed != want {
			t.Errorf("%s: allowed %v (%q, %v)", name, allowed, reply, err)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: env.Addr, Username: user, Password: password, MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	for _, command := range [][]any{
		{"XADD", "audit:other", "*", "a", "b"},
		{"XADD", "wardstream:block:ip:203.0.113.9", "*", "a", "b"},
		{"XRANGE", stream, "-", "+"},
		{"XTRIM", stream, "MAXLEN", 0},
		{"DEL", stream},
		{"GET", "wardstream:block:ip:203.0.113.9"},
		{"CLIENT", "LIST"},
		{"CONFIG", "GET", "*"},
		{"XGROUP", "CREATE", stream, "g", "0"},
		{"EVAL", "return 1", 0},
		{"PUBLISH", "c", "m"},
		{"ACL", "WHOAMI"},
		{"FLUSHALL"},
		{"PING"},
	} {
		if err := client.Do(t.Context(), command...).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("%v: %v, want NOPERM", command, err)
		}
	}
	if err := client.Do(t.Context(), "XADD", stream, "*", "event_type", "x").Err(); err != nil {
		t.Errorf("XADD: %v", err)
	}
}

// TestEveryProgramIsTested: a program that is never run is soon wrong.
func TestEveryProgramIsTested(t *testing.T) {
	t.Parallel()
	all := fmt.Sprint(producers(t))
	files, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".java")
		if strings.HasPrefix(strings.ToLower(file), "login") && !strings.Contains(all, name) {
			t.Errorf("%s is not run", file)
		}
	}
}
