package operator

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/streamclock"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestUnblockOutranksEarlierEventsThoughClocksDiffer: events have their times from Redis, whose
// clock may be ahead of the operator's, or may have been set back since. What was published before
// the unblock doesn't block again, what comes after it does.
func TestUnblockOutranksEarlierEventsThoughClocksDiffer(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": 5 * time.Minute, "set back": -5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.PrivateRedisWithClock(t)
			xadd := func() time.Time {
				id := env.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: []string{"a", "b"}}).Val()
				at, _ := wire.EntryTime(id)
				return at
			}
			blocks, err := redisstore.NewBlocks(env.Client, redisstore.BlockOptions{})
			if err != nil {
				t.Fatal(err)
			}
			scope := checker.Scope{Type: "user", Value: "42"}
			put := func(at time.Time) store.Outcome {
				block := checker.Block{ID: "x", Scope: scope, CreatedAt: at, ExpiresAt: time.Now().Add(time.Hour)}
				results, err := blocks.Put(t.Context(), []store.Put{{Block: block, EvidenceTime: at}})
				if err != nil {
					t.Fatal(err)
				}
				return results[0].Outcome
			}
			if off < 0 {
				xadd() // has a time that Redis' clock won't show for a while
			}
			if err := env.StepClock(off); err != nil {
				t.Fatal(err)
			}
			event := xadd()
			if got := put(event); got != store.Began {
				t.Fatalf("outcome %v, want a block", got)
			}
			o := Operator{Blocks: blocks, Sinks: sinks.Direct{}, Now: time.Now, EventClock: func(ctx context.Context, now time.Time) (time.Time, error) {
				return streamclock.Clock{Client: env.Client}.Latest(ctx, []string{"s", "none"}, now)
			}}
			if lifted, err := o.Unblock(t.Context(), UnblockRequest{Scope: scope}); err != nil || len(lifted) != 1 {
				t.Fatalf("lifted %v (%v)", lifted, err)
			}
			if got := put(event); got != store.Unblocked {
				t.Errorf("the event from before, redelivered: outcome %v, want none", got)
			}
			next := max(event.UnixMilli(), env.Client.Time(t.Context()).Val().UnixMilli()) + 1
			if got := put(time.UnixMilli(next)); got != store.Began {
				t.Errorf("an event from after it: outcome %v, want a block", got)
			}
		})
	}
}
