package redislookup

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestFailModes runs a Checker over a Redis that is down, that says nothing, and
// that holds garbage: the path decides.
func TestFailModes(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) redis.UniversalClient{
		"a cluster, wrong password": func(t *testing.T) redis.UniversalClient {
			env := cluster(t, "--requirepass", "hunter2", "--masterauth", "hunter2")
			return connect(t, "redis+cluster://:wrong@"+env.Addr)
		},
		"a cluster without slots": func(t *testing.T) redis.UniversalClient {
			env := testenv.PrivateRedis(t, "--cluster-enabled", "yes")
			return connect(t, "redis+cluster://"+env.Addr)
		},
		"down": func(t *testing.T) redis.UniversalClient {
			env := testenv.PrivateRedis(t)
			client := connect(t, env.URL)
			env.Kill()
			return client
		},
		"stalling": func(t *testing.T) redis.UniversalClient {
			return connect(t, "redis://"+testenv.Silent(t)+"?read_timeout=1h&dial_timeout=1h")
		},
		"cold": func(t *testing.T) redis.UniversalClient { return connect(t, testenv.Redis(t).URL) },
		"wrong password": func(t *testing.T) redis.UniversalClient {
			return connect(t, strings.Replace(testenv.PrivateRedis(t, "--requirepass", "hunter2").URL, "//", "//:wrong@", 1))
		},
		"no password": func(t *testing.T) redis.UniversalClient {
			return connect(t, testenv.PrivateRedis(t, "--requirepass", "hunter2").URL)
		},
		"one that may not read": func(t *testing.T) redis.UniversalClient {
			return connect(t, strings.Replace(testenv.PrivateRedis(t, "--user", "p", "on", ">p", "~nothing", "+@read").URL, "//", "//p:p@", 1))
		},
		"wrong address": func(t *testing.T) redis.UniversalClient { return connect(t, "redis://"+testenv.ClosedPort(t)) },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := open(t)
			c := checker.New(New(client, WithPermanentTier(), WithKeyPrefix("ws-test-failmode")), checker.WithFailClosed(regexp.MustCompile("^/pay")),
				checker.WithDenial(403, "closed"))
			for range 3 {
				d := c.Check(t.Context(), checker.Subject{User: "42", Path: "/x"})
				if d.Blocked || d.Err == nil || d.FailClosed {
					t.Fatalf("open path: %+v", d)
				}
				d = c.Check(t.Context(), checker.Subject{User: "42", Path: "/pay/1"})
				if !d.Blocked || d.Err == nil || d.StatusCode != 403 || d.Message != "closed" {
					t.Fatalf("closed path: %+v", d)
				}
			}
		})
	}
}

// TestRecoversAfterAnOutage: no circuit stays open once Redis is back.
func TestRecoversAfterAnOutage(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	c := checker.New(New(connect(t, env.URL)))
	subject := checker.Subject{User: "42"}
	check := func() error { return c.Check(t.Context(), subject).Err }
	testenv.Eventually(t, 10*time.Second, check)
	env.Kill()
	for range 50 { // more failures than the pool has connections
		if check() == nil {
			t.Fatal("a dead Redis answers")
		}
	}
	env.Restart()
	testenv.Eventually(t, 30*time.Second, check)
}

func connect(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	client, err := Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
