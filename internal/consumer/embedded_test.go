package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/deadletter"
)

// TestWorkerOnEmbeddedServer runs a worker on the in-process server that the demo uses,
// which is not Redis: every command and script must be within what it knows.
func TestWorkerOnEmbeddedServer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	b := &fixture{t: t, url: "redis://" + server.Addr(), client: client, prefix: "p", stream: "p:events"}
	b.add(5)
	b.deliver("dead", 5)
	o := b.options()
	o.ClaimMinIdle = 300 * time.Millisecond
	o.MaxDeliveries = 1 // what is claimed is handled alone
	b.works(o)
	b.eventually(func() error {
		s, ok, err := b.sampler().take(ctx)
		if err != nil || !ok {
			t.Fatalf("measuring: %v, %v", ok, err)
		}
		return want("pending", s.pending, int64(0))
	})
	if n, err := trim(ctx, client, b.stream, testGroup, time.Hour); err != nil || n != 0 {
		t.Errorf("trimming: %d, %v", n, err)
	}
	if names, err := removeConsumers(ctx, client, b.stream, testGroup, "", time.Hour); err != nil || len(names) != 0 {
		t.Errorf("sweeping: %v, %v", names, err)
	}
	if n, err := deadletter.NewQueue(client, b.stream).RequeueAll(ctx); err != nil || n != 2 {
		t.Errorf("requeueing: %d, %v", n, err)
	}
}
