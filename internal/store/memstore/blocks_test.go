package memstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/pkg/checker"
)

func open(*testing.T) storetest.Backend {
	clock := storetest.NewClock()
	return storetest.Backend{Blocks: memstore.NewBlocks(clock.Now), Now: clock.Now, Reach: clock.Reach, Movable: true}
}

func TestBlocks(t *testing.T) { storetest.Blocks(t, open) }

func TestDurable(t *testing.T) {
	t.Parallel()
	storetest.Durable(t, open)
}

func TestBlocksModel(t *testing.T) {
	t.Parallel()
	storetest.Model(t, open)
}

// TestBlocksForgetsExpired floods the store with scopes whose blocks end: it may not keep
// them all.
func TestBlocksForgetsExpired(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	b := memstore.NewBlocks(clock)
	for i := range 20_000 {
		at := clock()
		_, err := b.Put(t.Context(), []store.Put{{EvidenceTime: at, Block: checker.Block{
			Scope: checker.Scope{Type: "user", Value: fmt.Sprint(i)}, ExpiresAt: at.Add(time.Second),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		now = now.Add(time.Millisecond)
		mu.Unlock()
	}
	if n := b.Len(); n > 8192 {
		t.Fatalf("the store remembers %d scopes, of which 1,000 are blocked", n)
	}
}
