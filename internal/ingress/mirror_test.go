package ingress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	blockstore "github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestMirror: blocks are answered from memory, known at once, and enforced while Redis is away.
func TestMirror(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	blocks, err := redisstore.NewBlocks(env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	i := start(t, func(o *Options) {
		onRedis(&env.RedisEnv)(o)
		o.Mirror = true
	})
	has := func(metric string) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() error {
			if text := i.ask("/metrics").body; !strings.Contains(text, "\n"+metric+"\n") {
				return fmt.Errorf("no %s in %s", metric, text)
			}
			return nil
		})
	}
	has("wardstream_ingress_mirror_following 1")
	put := blockstore.Put{Block: checker.Block{
		ID: "x", Scope: checker.Scope{Type: "ip", Value: "203.0.112.0/21"}, Rule: "r", StatusCode: 403, Message: "away", ExpiresAt: time.Now().Add(time.Hour),
	}}
	if _, err := blocks.Put(t.Context(), []blockstore.Put{put}); err != nil {
		t.Fatal(err)
	}
	denied := func() error {
		if res := i.ask("/", "X-Forwarded-For", attacker); res.status != 403 || res.body != "away" {
			return fmt.Errorf("attacker: %d %q", res.status, res.body)
		}
		return nil
	}
	testenv.Eventually(t, time.Minute, denied) // by a range that no look-up asks for
	has("wardstream_ingress_mirror_blocks 1")
	trips := commands(t, env)
	for range 50 {
		if res := i.ask("/", "X-Forwarded-For", visitor); res.status != 200 {
			t.Fatalf("visitor: %d", res.status)
		}
	}
	if asked := commands(t, env) - trips; asked > 40 { // what the mirror itself asks goes on
		t.Errorf("%d commands for 50 requests", asked)
	}
	env.Kill()
	if err := denied(); err != nil {
		t.Errorf("without Redis: %v", err)
	}
	has("wardstream_ingress_mirror_following 0")
	if err := denied(); err != nil {
		t.Errorf("without Redis for a while: %v", err)
	}
}

// commands is how many commands Redis has run.
func commands(t *testing.T, env *testenv.PrivateRedisEnv) (n int) {
	t.Helper()
	text, err := env.Client.Info(t.Context(), "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "total_commands_processed:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
