package consumer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/deadletter"
	"github.com/wardstream/wardstream/internal/rediskey"
)

// rejecting returns a handler that calls entries with a field "bad" dead.
func rejecting(reason string) *recorder {
	return &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		verdicts := all(batch, Done)
		for i, e := range batch {
			if slices.Contains(e.Fields, "bad") {
				verdicts[i] = Verdict{Status: Dead, Reason: reason}
			}
		}
		return verdicts, nil
	}}
}

func TestDeadLetterHoldsEveryField(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	now := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	fields := []string{"bad", "x", "bad", "y", "bin", "\x00\xff", "dead.reason", "forged", "", ""}
	id := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: fields}).Val()
	o := b.options()
	o.Now = func() time.Time { return now }
	h := rejecting("malformed: " + strings.Repeat("é", 300))
	w := b.start(o, h)
	good := b.add(10)
	b.allHandled(append(good, id), h)
	letters := b.deadLetters()
	if len(letters) != 1 {
		t.Fatalf("dead letters are %+v", letters)
	}
	letter := letters[0]
	if letter.EntryID != id || letter.Stream != b.stream || letter.Deliveries != 1 || !letter.At.Equal(now) || !slices.Equal(letter.Fields, fields) {
		t.Errorf("dead letter is %+v", letter)
	}
	if len(letter.Reason) > deadletter.MaxReason || !strings.HasPrefix(letter.Reason, "malformed: éé") || strings.ContainsRune(letter.Reason, '\uFFFD') {
		t.Errorf("reason is %q", letter.Reason)
	}
	b.eventually(func() error { return want("counted", w.metric("wardstream_dead_letters_total"), 1.0) })
}

// TestDeadLetterOfAckedEntryIsNotWritten has the entry acked by another first.
func TestDeadLetterOfAckedEntryIsNotWritten(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	h := rejecting("malformed")
	handle := h.handle
	h.handle = func(ctx context.Context, batch []Entry) ([]Verdict, error) {
		b.client.XAck(ctx, b.stream, testGroup, batch[0].ID)
		return handle(ctx, batch)
	}
	ids := b.add(1, "bad", "")
	w := b.start(b.options(), h)
	b.allHandled(ids, h)
	b.allHandled(b.add(1), h)
	if letters := b.deadLetters(); len(letters) != 0 || w.metric("wardstream_dead_letters_total") != 0 {
		t.Errorf("dead letters are %+v", letters)
	}
}

func TestManyDeadLetters(t *testing.T) {
	t.Parallel()
	b, _ := privateFixture(t)
	h := rejecting("malformed")
	ids := b.add(1000, "bad", "")
	o := b.options()
	o.DeadMaxLen = 300
	b.start(o, h)
	b.allHandled(ids, h)
	// Redis trims whole blocks of 100.
	if n := b.client.XLen(context.Background(), rediskey.DeadLetters(b.stream)).Val(); n < 300 || n > 400 {
		t.Errorf("%d dead letters are kept", n)
	}
	if err := b.client.ScriptFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	b.allHandled(b.add(100, "bad", ""), h)
}

// TestDeadLetterWriteErrorLeavesEntryPending has something else in its stream's place.
func TestDeadLetterWriteErrorLeavesEntryPending(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	dead := rediskey.DeadLetters(b.stream)
	if err := b.client.Set(ctx, dead, "in the way", 0).Err(); err != nil {
		t.Fatal(err)
	}
	h := rejecting("malformed")
	bad := b.add(3, "bad", "")
	b.start(b.options(), h)
	good := b.add(100)
	b.eventually(func() error {
		n, err := b.pending()
		if err != nil || n != 3 {
			return fmt.Errorf("%d pending, %w", n, err)
		}
		return want("handled", h.times(good[99]), 1)
	})
	b.client.Del(ctx, dead)
	b.allHandled(bad, h)
	if letters := b.deadLetters(); len(letters) != 3 || h.times(bad[0]) != 1 {
		t.Errorf("dead letters are %+v, handled %d times", letters, h.times(bad[0]))
	}
}

func TestDeadLetterWithManyFields(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	fields := []string{"bad", ""}
	for i := range 9000 {
		fields = append(fields, "f"+strconv.Itoa(i), "v")
	}
	id := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: fields}).Val()
	h := rejecting("malformed")
	b.start(b.options(), h)
	b.allHandled([]string{id}, h)
	letters := b.deadLetters()
	if len(letters) != 1 || !slices.Equal(letters[0].Fields, fields) {
		t.Fatalf("%d dead letters", len(letters))
	}
	admin := deadletter.NewQueue(b.client, b.stream)
	if n, err := admin.Requeue(context.Background(), letters[0].ID); err == nil || n != 0 {
		t.Errorf("requeueing it returned %d, %v", n, err)
	}
}

func TestDeadLetterReasonsHaveFewClasses(t *testing.T) {
	t.Parallel()
	var c classes
	for reason, class := range map[string]string{
		"panic: runtime.boundsError": "panic", "killed the worker": "killed the worker", "": "other", ": x": "other",
		strings.Repeat("x", 41): "other", "bad \xff: x": "bad",
	} {
		if got := c.of(reason); strings.TrimSpace(got) != class {
			t.Errorf("class of %q is %q, want %q", reason, got, class)
		}
	}
	for i := range 1000 {
		c.of(fmt.Sprintf("reason %d", i))
	}
	if len(c.seen) != maxClasses || c.of("reason 999") != "other" || c.of("panic: y") != "panic" {
		t.Errorf("%d classes", len(c.seen))
	}
}
