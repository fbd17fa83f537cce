package consumer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/deadletter"
)

// TestOversizedEntryIsDeadLetteredWithoutReading: an entry so large that it may have ended the
// process that read it is not read again, but a dead letter without fields. Its neighbours are
// handled.
func TestOversizedEntryIsDeadLetteredWithoutReading(t *testing.T) {
	t.Parallel()
	for name, owner := range map[string]string{"recovered": "w-0", "claimed": "gone"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			ids := b.add(40)
			giants := b.add(2, "giant", strings.Repeat("x", 200<<10))
			ids = append(ids, b.add(40)...)
			b.deliver(owner, 82)
			h := &recorder{}
			o := b.options()
			o.replyBytes, o.ClaimMinIdle = 64<<10, 100*time.Millisecond
			w := b.start(o, h)
			b.allHandled(ids, h)
			for _, id := range ids {
				if n := h.times(id); n != 1 {
					t.Errorf("%s was handled %d times", id, n)
				}
			}
			letters := b.deadLetters()
			for i, letter := range letters {
				if letter.EntryID != giants[i] || letter.Reason != reasonUnreadable || len(letter.Fields) != 0 || letter.Deliveries < 2 || h.times(giants[i]) != 0 {
					t.Errorf("dead letter %+v", letter)
				}
			}
			if len(letters) != len(giants) {
				t.Errorf("%d dead letters", len(letters))
			}
			b.eventually(func() error { return want("dead letters counted", w.metric("wardstream_dead_letters_total"), 2.0) })
			admin := deadletter.NewQueue(b.client, b.stream)
			if n, err := admin.Requeue(context.Background(), letters[0].ID); !errors.Is(err, deadletter.ErrNoFields) || n != 0 {
				t.Errorf("requeued %d, %v", n, err)
			}
		})
	}
}

// TestOversizedDeadLetterHasNoFields: an entry that is a dead letter when it comes first is not
// sent about either.
func TestOversizedDeadLetterHasNoFields(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	fields := []string{"bad", strings.Repeat("x", 60<<10)}
	small := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: fields}).Val()
	giant := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: []string{"bad", strings.Repeat("x", 70<<10)}}).Val()
	h := rejecting("malformed")
	o := b.options()
	o.replyBytes = 64 << 10
	b.start(o, h)
	b.allHandled([]string{small, giant}, h)
	letters := b.deadLetters()
	if len(letters) != 2 || !slices.Equal(letters[0].Fields, fields) || letters[1].EntryID != giant || len(letters[1].Fields) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}
