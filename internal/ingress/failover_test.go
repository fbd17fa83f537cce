package ingress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

// TestFailoverBehindOneName: the old server lives on, cut off from the new primary, and what it
// holds is stale.
func TestFailoverBehindOneName(t *testing.T) {
	t.Parallel()
	before, after := testenv.PrivateRedis(t), testenv.PrivateRedis(t)
	after.Prefix = before.Prefix
	blockIn(t, &after.RedisEnv, "ip", attacker, time.Hour) // made since the failover
	name := testenv.NewName(t, before.Addr)
	i := start(t, func(o *Options) { o.RedisURL, o.KeyPrefix = "redis://"+name.Addr+"/0", before.Prefix })
	says := func(status int, text string) {
		t.Helper()
		testenv.Eventually(t, 30*time.Second, func() error {
			if res := i.ask("/readyz"); res.status != status || !strings.Contains(res.body, text) {
				return fmt.Errorf("/readyz: %d %q", res.status, res.body)
			}
			return nil
		})
	}
	is := func(status int) {
		t.Helper()
		testenv.Eventually(t, 30*time.Second, func() error {
			if res := i.ask("/", "X-Forwarded-For", attacker); res.status != status {
				return fmt.Errorf("the attacker gets %d", res.status)
			}
			return nil
		})
	}
	says(200, "ready\n")
	is(200)
	replicate := func(of string) {
		t.Helper()
		host, port, _ := strings.Cut(of, ":")
		if err := before.Client.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
			t.Fatal(err)
		}
	}
	replicate("127.0.0.1:1") // where no server listens
	says(503, "cut off from its primary")
	is(200) // by the stale server: checks are answered though it is not ready
	name.LeadTo(after.Addr)
	says(200, "ready\n")
	is(429)
	testenv.Eventually(t, 30*time.Second, func() error {
		if len(i.log.lines(t, "another Redis server answers now, or the same one after a restart")) == 0 {
			return fmt.Errorf("the log does not say that another server answers")
		}
		return nil
	})
	replicate(after.Addr)
	name.LeadTo(before.Addr) // a replica on purpose
	says(200, "warning: Redis is a replica")
	is(429)
}
