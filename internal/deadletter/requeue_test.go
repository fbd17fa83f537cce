package deadletter

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestRequeue(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	plain := b.add(3, "bad", "1", fieldAt, "theirs")
	named := b.add(1, "event_id", "e-1")
	letters := b.die()

	// Twice by ID, at once and one after the other, and then all.
	var both sync.WaitGroup
	counts := make([]int, 2)
	for i := range counts {
		both.Go(func() {
			n, err := b.Requeue(ctx, letters[0].ID, letters[1].ID)
			if err != nil {
				t.Error(err)
			}
			counts[i] = n
		})
	}
	both.Wait()
	if counts[0]+counts[1] != 2 {
		t.Errorf("requeued %v, want 2 together", counts)
	}
	if n, err := b.Requeue(ctx, letters[0].ID, "77-1"); err != nil || n != 0 {
		t.Errorf("requeueing it again: %d, %v", n, err)
	}
	if n, err := b.RequeueAll(ctx); err != nil || n != 2 {
		t.Errorf("RequeueAll: %d, %v", n, err)
	}
	if n, err := b.RequeueAll(ctx); err != nil || n != 0 {
		t.Errorf("RequeueAll again: %d, %v", n, err)
	}
	names := map[string][]string{}
	for _, fields := range b.entries(named[0]) {
		names[fields[slices.Index(fields, fieldEventID)+1]] = fields
	}
	if len(names) != 4 {
		t.Fatalf("requeued %v", names)
	}
	for i, id := range plain {
		if got, want := names[id], []string{"n", strconv.Itoa(i), "bad", "1", fieldAt, "theirs", fieldEventID, id}; !slices.Equal(got, want) {
			t.Errorf("requeued as %q, want %q", got, want)
		}
	}
	if got, want := names["e-1"], []string{"n", "0", "event_id", "e-1"}; !slices.Equal(got, want) {
		t.Errorf("requeued as %q, want %q", got, want)
	}
}

// dying is a hook that makes a dead letter of everything that is requeued, at once.
type dying struct{ b *fixture }

func (d *dying) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d *dying) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (d *dying) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if name := cmd.Name(); err == nil && (name == "evalsha" || name == "eval") {
			d.b.die()
		}
		return err
	}
}

// TestRequeueAllEndsThoughEntriesReturn has what is requeued come back at once.
func TestRequeueAllEndsThoughEntriesReturn(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	b.add(250)
	b.die()
	client := redis.NewClient(b.client.Options())
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(&dying{b: b})
	if n, err := NewQueue(client, b.stream).RequeueAll(ctx); err != nil || n != 250 {
		t.Errorf("requeued %d, %v", n, err)
	}
	if n, err := b.Len(ctx); err != nil || n != 250 {
		t.Errorf("%d dead letters, %v", n, err)
	}
	if n := b.client.XLen(ctx, b.stream).Val(); n != 500 {
		t.Errorf("%d entries, want each twice", n)
	}
}

// TestRequeueEdited: a dead letter comes back as it was changed, under the ID that it would have
// counted by.
func TestRequeueEdited(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	id := b.add(1, "bad", "1")[0]
	letter := b.die()[0]
	if n, err := b.RequeueEdited(ctx, letter.ID, Edit{Unset: []string{"bad", "n"}}); !errors.Is(err, ErrNoFields) || n != 0 {
		t.Errorf("without fields it is requeued: %d, %v", n, err)
	}
	edit := Edit{Unset: []string{"bad"}, Set: [][2]string{{"good", "2"}}}
	for again, want := range []int{1, 0} {
		if n, err := b.RequeueEdited(ctx, letter.ID, edit); err != nil || n != want {
			t.Errorf("time %d: requeued %d, %v", again, n, err)
		}
	}
	entries := b.entries(id)
	if len(entries) != 1 {
		t.Fatalf("entries %v", entries)
	}
	for _, got := range entries {
		if want := []string{"n", "0", "good", "2", fieldEventID, id}; !slices.Equal(got, want) {
			t.Errorf("requeued as %q, want %q", got, want)
		}
	}
	if left := b.all(); len(left) != 0 {
		t.Errorf("dead letters %+v", left)
	}
}
