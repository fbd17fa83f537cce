package consumer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// childVariable makes the test binary a worker that ends in the middle of an entry
// that says so. It holds the URL, the stream, the prefix and the consumer's name.
const childVariable = "WARDSTREAM_CONSUMER_CHILD"

const (
	childKilled  = 42
	childBroken  = 1
	childMaximum = 2 // deliveries
)

// child is a worker that ends with childKilled at a poisonous entry and with 0 once
// nothing is left to do.
func child() int {
	var url, stream, prefix, name string
	if _, err := fmt.Sscan(os.Getenv(childVariable), &url, &stream, &prefix, &name); err != nil {
		return childBroken
	}
	clients, err := Connect(url, ConnectOptions{})
	if err != nil {
		return childBroken
	}
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		for _, e := range batch {
			if e.Fields[0] == "poison" {
				os.Exit(childKilled)
			}
		}
		return all(batch, Done), nil
	}}
	c, err := New(Options{
		Clients: clients, Streams: []string{stream}, Group: testGroup, Consumer: name, Prefix: prefix,
		Block: 50 * time.Millisecond, ClaimMinIdle: 100 * time.Millisecond, MaxDeliveries: childMaximum,
	}, h)
	if err != nil {
		return childBroken
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() { _ = c.Run(ctx) }()
	for ctx.Err() == nil {
		dead := clients.Ops.XLen(ctx, rediskey.DeadLetters(stream)).Val()
		pending, err := clients.Ops.XPending(ctx, stream, testGroup).Result()
		if err == nil && dead == 1 && pending.Count == 0 {
			return 0
		}
		pause(ctx, 5*time.Millisecond)
	}
	return childBroken
}

func TestPoisonEntryThatKillsProcessBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	names := map[string]func(run int) string{
		"recovered by the same consumer": func(int) string { return "stable" },
		"claimed by others":              func(run int) string { return fmt.Sprintf("pod%d", run) },
	}
	for name, consumer := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			b.add(5)
			poison := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: []string{"poison", "1"}}).Val()
			b.add(5)
			killed := 0
			for code := childKilled; code != 0; {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s", childVariable, b.url, b.stream, b.prefix, consumer(killed)))
				out, err := cmd.CombinedOutput()
				if code = cmd.ProcessState.ExitCode(); code != 0 && code != childKilled {
					t.Fatalf("worker ended with %v: %s", err, out)
				}
				if code == childKilled {
					killed++
				}
			}
			// Twice in a batch, once alone after the marker was set.
			if killed != childMaximum+1 {
				t.Errorf("%d workers were killed", killed)
			}
			letters := b.deadLetters()
			if len(letters) != 1 || letters[0].EntryID != poison || letters[0].Reason != reasonKilled || letters[0].Deliveries != killed+1 {
				t.Errorf("dead letters are %+v", letters)
			}
			if n, err := b.pending(); err != nil || n != 0 {
				t.Errorf("%d pending, %v", n, err)
			}
		})
	}
}

// deliverOften leaves one entry with a dead consumer that was delivered n times.
func (b *fixture) deliverOften(n int) string {
	b.t.Helper()
	b.add(1)
	id := b.deliver("dead", 1)[0]
	err := b.client.Do(context.Background(), "XCLAIM", b.stream, testGroup, "dead", 0, id, "IDLE", time.Hour.Milliseconds(), "RETRYCOUNT", n).Err()
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *fixture) marker(id string) string { return b.prefix + ":suspect:" + b.stream + ":" + id }

func TestPoisonCandidateIsHandledAloneWithMarker(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	var ids []string
	for range 3 {
		ids = append(ids, b.deliverOften(50))
	}
	attempts := 0 // only the loop's goroutine handles
	h := &recorder{}
	h.handle = func(_ context.Context, batch []Entry) ([]Verdict, error) {
		markers := b.client.Exists(ctx, b.marker(batch[0].ID)).Val()
		if len(batch) != 1 || markers != 1 || batch[0].Deliveries != 51 {
			return nil, fmt.Errorf("%d entries, %d markers, delivery %d", len(batch), markers, batch[0].Deliveries)
		}
		// An outage fails each more often than MaxDeliveries.
		if attempts++; h.times(batch[0].ID) <= 3 {
			return all(batch, Pending), errOutage
		}
		return all(batch, Done), nil
	}
	o := b.options()
	o.MaxDeliveries = 2
	b.start(o, h)
	b.allHandled(ids, h)
	if letters := b.deadLetters(); len(letters) != 0 {
		t.Errorf("dead letters are %+v", letters)
	}
	for _, id := range ids {
		if n := b.client.Exists(ctx, b.marker(id)).Val(); n != 0 {
			t.Errorf("the marker of %s is still there", id)
		}
		if n := h.times(id); n != 4 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
}

func TestPoisonMarkerOfAnotherProcessMeansKilled(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	id := b.deliverOften(9)
	if err := b.client.Set(context.Background(), b.marker(id), "another", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	h := &recorder{}
	w := b.start(b.options(), h)
	b.eventually(func() error { return want("dead letters", len(b.deadLetters()), 1) })
	if n := h.times(id); n != 0 {
		t.Errorf("it was handled %d times", n)
	}
	if letter := b.deadLetters()[0]; letter.Reason != reasonKilled || letter.EntryID != id {
		t.Errorf("dead letter is %+v", letter)
	}
	b.eventually(func() error { return want("dead letters counted", w.metric("wardstream_dead_letters_total"), 1.0) })
}

// TestPoisonCandidateOutageDuringAttemptDoesNotCount has Redis die while a poison candidate is
// handled, so that the marker can't be removed.
func TestPoisonCandidateOutageDuringAttemptDoesNotCount(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t, "--appendonly", "yes", "--appendfsync", "always")
	id := b.deliverOften(9)
	h := &recorder{}
	h.handle = func(_ context.Context, batch []Entry) ([]Verdict, error) {
		if h.times(id) == 1 {
			env.Kill()
			return nil, errOutage
		}
		return all(batch, Done), nil
	}
	b.start(b.options(), h)
	b.eventually(func() error { return want("handled", h.times(id), 1) })
	env.Kill() // it may not have returned yet
	env.Restart()
	b.allHandled([]string{id}, h)
	if letters := b.deadLetters(); len(letters) != 0 {
		t.Errorf("dead letters are %+v", letters)
	}
	b.eventually(func() error {
		return want("markers", b.client.Exists(context.Background(), b.marker(id)).Val(), int64(0))
	})
}

func TestPanicDeadLettersOneEntry(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ids := b.add(20)
	values := map[string]any{ids[3]: "secret of the user", ids[7]: errors.New("secret too"), ids[11]: nil}
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		for i, e := range batch {
			if v, ok := values[e.ID]; ok {
				if v == nil {
					_ = batch[len(batch)+i].ID // out of range
				}
				panic(v)
			}
		}
		return all(batch, Done), nil
	}}
	w := b.start(b.options(), h)
	b.allHandled(ids, h)
	reasons := map[string]string{}
	for _, letter := range b.deadLetters() {
		reasons[letter.EntryID] = letter.Reason
	}
	if len(reasons) != len(values) {
		t.Errorf("dead letters are %v", reasons)
	}
	for id, reason := range map[string]string{
		ids[3]: "panic: string", ids[7]: "panic: *errors.errorString", ids[11]: "panic: runtime.boundsError",
	} {
		if reasons[id] != reason || strings.Contains(reasons[id], "secret") {
			t.Errorf("reason for %s is %q, want %q", id, reasons[id], reason)
		}
	}
	b.eventually(func() error { return want("dead letters counted", w.metric("wardstream_dead_letters_total"), 3.0) })
}
