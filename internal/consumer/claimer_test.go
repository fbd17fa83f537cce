package consumer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// claims is a hook that notes from where on each XAUTOCLAIM looks, and what a page may hold.
type claims struct {
	redis.Hook

	mu     sync.Mutex
	from   []any
	counts map[any]int
}

func (c *claims) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *claims) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *claims) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); args[0] == "XAUTOCLAIM" {
			c.mu.Lock()
			c.from, c.counts[args[7]] = append(c.from, args[5]), c.counts[args[7]]+1
			c.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

// TestPendingListIsScannedInPages: what others have in flight is not looked at in one go, however
// much it is: Redis answers no other client meanwhile. Each page goes on where the one before
// ended, and new entries don't wait for the last.
func TestPendingListIsScannedInPages(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.add(5000)
	b.deliver("busy", 5000)
	o := b.options()
	o.ClaimMinIdle = time.Hour
	var later atomic.Int64 // it is time to claim, though nothing may be claimed
	o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	c := &claims{counts: map[any]int{}}
	o.Clients.Ops.AddHook(c)
	h := &recorder{}
	b.start(o, h)
	later.Store(int64(time.Hour))
	fresh := b.add(10)
	b.eventually(func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		err := want("entries handled", len(h.ids()), len(fresh))
		return errors.Join(err, want("pages are enough", len(c.from) >= 5000/(10*o.BatchSize), true))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[any]bool{}
	for _, from := range c.from {
		if seen[from] {
			t.Errorf("looked from %v on twice: %v", from, c.from)
		}
		seen[from] = true
	}
	if len(c.counts) != 1 || c.counts[int64(o.BatchSize)]+c.counts[o.BatchSize] == 0 {
		t.Errorf("pages of %v, want %d", c.counts, o.BatchSize)
	}
}
