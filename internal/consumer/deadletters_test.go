package consumer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

// condemning returns a handler that calls entries with a field "bad" dead.
func condemning(reason string) *ledger {
	return &ledger{judge: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		verdicts := all(batch, Done)
		for i, e := range batch {
			if slices.Contains(e.Fields, "bad") {
				verdicts[i] = Verdict{Status: Dead, Reason: reason}
			}
		}
		return verdicts, nil
	}}
}

func TestDeadLetterHoldsEverything(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	now := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	fields := []string{"bad", "x", "bad", "y", "bin", "\x00\xff", fieldReason, "forged", "", ""}
	id := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: fields}).Val()
	o := b.options()
	o.Now = func() time.Time { return now }
	h := condemning("malformed: " + strings.Repeat("é", 300))
	w := b.start(o, h)
	good := b.add(10)
	b.drained(append(good, id), h)
	letters := b.deadLetters()
	if len(letters) != 1 {
		t.Fatalf("dead letters are %+v", letters)
	}
	letter := letters[0]
	if letter.EntryID != id || letter.Stream != b.stream || letter.Deliveries != 1 || !letter.At.Equal(now) || !slices.Equal(letter.Fields, fields) {
		t.Errorf("dead letter is %+v", letter)
	}
	if len(letter.Reason) > maxReason || !strings.HasPrefix(letter.Reason, "malformed: éé") || strings.ContainsRune(letter.Reason, '\uFFFD') {
		t.Errorf("reason is %q", letter.Reason)
	}
	b.eventually(func() error { return want("counted", w.metric("wardstream_dead_letters_total"), 1.0) })
}

// TestDeadLetterIsWrittenOnce has the entry acked by somebody else first.
func TestDeadLetterOfAnAckedEntryIsNotWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := condemning("malformed")
	judge := h.judge
	h.judge = func(ctx context.Context, batch []Entry) ([]Verdict, error) {
		b.client.XAck(ctx, b.stream, testGroup, batch[0].ID)
		return judge(ctx, batch)
	}
	ids := b.add(1, "bad", "")
	w := b.start(b.options(), h)
	b.drained(ids, h)
	b.drained(b.add(1), h)
	if letters := b.deadLetters(); len(letters) != 0 || w.metric("wardstream_dead_letters_total") != 0 {
		t.Errorf("dead letters are %+v", letters)
	}
}

func TestManyDeadLetters(t *testing.T) {
	t.Parallel()
	b, _ := privateBench(t)
	h := condemning("malformed")
	ids := b.add(1000, "bad", "")
	o := b.options()
	o.DeadMaxLen = 300
	b.start(o, h)
	b.drained(ids, h)
	// Redis trims whole blocks of 100.
	if n := b.client.XLen(context.Background(), b.stream+DefaultDeadSuffix).Val(); n < 300 || n > 400 {
		t.Errorf("%d dead letters are kept", n)
	}
	if err := b.client.ScriptFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	b.drained(b.add(100, "bad", ""), h)
}

// TestDeadLetterThatCannotBeWrittenWaits has something else in its stream's place.
func TestDeadLetterThatCannotBeWrittenWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := context.Background()
	dead := b.stream + DefaultDeadSuffix
	if err := b.client.Set(ctx, dead, "in the way", 0).Err(); err != nil {
		t.Fatal(err)
	}
	h := condemning("malformed")
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
	b.drained(bad, h)
	if letters := b.deadLetters(); len(letters) != 3 || h.times(bad[0]) != 1 {
		t.Errorf("dead letters are %+v, handled %d times", letters, h.times(bad[0]))
	}
}

func TestDeadLetterWithManyFields(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	fields := []string{"bad", ""}
	for i := range 9000 {
		fields = append(fields, "f"+strconv.Itoa(i), "v")
	}
	id := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: fields}).Val()
	h := condemning("malformed")
	b.start(b.options(), h)
	b.drained([]string{id}, h)
	letters := b.deadLetters()
	if len(letters) != 1 || !slices.Equal(letters[0].Fields, fields) {
		t.Fatalf("%d dead letters", len(letters))
	}
	admin := NewDeadLetters(b.client, b.stream, "")
	if n, err := admin.Requeue(context.Background(), letters[0].ID); err == nil || n != 0 {
		t.Errorf("requeueing it returned %d, %v", n, err)
	}
}

func TestDeadLettersAreListedInPages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := context.Background()
	h := condemning("malformed")
	ids := b.add(25, "bad", "")
	b.start(b.options(), h)
	b.drained(ids, h)
	// Somebody else's entry among them.
	foreign := b.client.XAdd(ctx, &redis.XAddArgs{Stream: b.stream + DefaultDeadSuffix, Values: []string{"a", "b"}}).Val()
	admin := NewDeadLetters(b.client, b.stream, "")
	var listed []string
	after := ""
	for {
		page, err := admin.List(ctx, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].ID
		for _, letter := range page {
			listed = append(listed, letter.EntryID)
		}
	}
	if !slices.Equal(listed, append(ids, "")) || after != foreign {
		t.Errorf("listed %v", listed)
	}
	if n, err := admin.Len(ctx); err != nil || n != 26 {
		t.Errorf("Len is %d, %v", n, err)
	}
}

func TestRequeue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := context.Background()
	var cured sync.Map // whether "bad" is bad still
	h := &ledger{judge: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		verdicts := all(batch, Done)
		for i := range batch {
			if _, ok := cured.Load("all"); !ok {
				verdicts[i] = Verdict{Status: Dead, Reason: "malformed"}
			}
		}
		return verdicts, nil
	}}
	b.start(b.options(), h)
	plain := b.add(3, "bad", "1", fieldAt, "theirs")
	named := b.add(1, "event_id", "e-1")
	b.drained(append(plain, named...), h)
	cured.Store("all", true)
	letters := b.deadLetters()
	admin := NewDeadLetters(b.client, b.stream, "")

	// Twice by ID, at once and one after the other, and then all.
	var both sync.WaitGroup
	counts := make([]int, 2)
	for i := range counts {
		both.Go(func() {
			n, err := admin.Requeue(ctx, letters[0].ID, letters[1].ID)
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
	if n, err := admin.Requeue(ctx, letters[0].ID, "77-1"); err != nil || n != 0 {
		t.Errorf("requeueing it again: %d, %v", n, err)
	}
	if n, err := admin.RequeueAll(ctx); err != nil || n != 2 {
		t.Errorf("RequeueAll: %d, %v", n, err)
	}
	if n, err := admin.RequeueAll(ctx); err != nil || n != 0 {
		t.Errorf("RequeueAll again: %d, %v", n, err)
	}
	b.eventually(func() error { return want("handled", len(h.ids()), 8) })
	names := map[string][]string{}
	for _, id := range h.ids() {
		e := h.entry(id)
		if !slices.Contains(append(plain, named...), id) {
			at := slices.Index(e.Fields, fieldEventID)
			names[e.Fields[at+1]] = e.Fields
		}
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

// TestRequeueAllEnds has what is requeued come back at once.
func TestRequeueAllEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := context.Background()
	h := condemning("malformed")
	b.start(b.options(), h)
	b.drained(b.add(250, "bad", ""), h)
	admin := NewDeadLetters(b.client, b.stream, "")
	if n, err := admin.RequeueAll(ctx); err != nil || n != 250 {
		t.Errorf("requeued %d, %v", n, err)
	}
	b.eventually(func() error { return want("handled", len(h.ids()), 500) })
	testenv.Eventually(t, patience, func() error { return want("dead letters", len(b.deadLetters()), 250) })
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := context.Background()
	h := condemning("malformed")
	b.start(b.options(), h)
	b.drained(b.add(20, "bad", ""), h)
	admin := NewDeadLetters(b.client, b.stream, "")
	letters := b.deadLetters()
	for _, tc := range []struct {
		ids  []string
		want int64
	}{{nil, 0}, {[]string{letters[0].ID, letters[1].ID, "9-9"}, 2}, {[]string{letters[0].ID}, 0}} {
		if n, err := admin.Purge(ctx, tc.ids...); err != nil || n != tc.want {
			t.Errorf("Purge(%v) = %d, %v, want %d", tc.ids, n, err, tc.want)
		}
	}
	if n, err := admin.PurgeAll(ctx); err != nil || n != 18 {
		t.Errorf("PurgeAll = %d, %v", n, err)
	}
	if n, err := admin.PurgeAll(ctx); err != nil || n != 0 {
		t.Errorf("PurgeAll again = %d, %v", n, err)
	}
	if _, err := admin.Purge(ctx, "no id"); err == nil {
		t.Error("an ID that is none is no error")
	}
}

func TestReasonsHaveFewClasses(t *testing.T) {
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
