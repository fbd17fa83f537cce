package deadletter

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/resp"
	"github.com/wardstream/wardstream/internal/testenv"
)

// TestWriteOutcomes: an entry that is pending becomes a dead letter, once; one that another has
// acked does not; one whose dead letter cannot be written stays pending.
func TestWriteOutcomes(t *testing.T) {
	t.Parallel()
	// A server of its own: a script that another test loads while the letters are sent would change
	// their order.
	b := newFixtureOn(t, testenv.PrivateRedis(t).Client, "events")
	ctx := context.Background()
	if err := b.client.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	b.add(100)
	letters := b.deliver()
	b.client.XAck(ctx, b.stream, testGroup, letters[0].EntryID)
	for _, want := range []Outcome{Written, Gone} {
		outcomes, err := b.writer.Write(ctx, letters)
		if err != nil || len(outcomes) != 100 || outcomes[0] != Gone || slices.ContainsFunc(outcomes[1:], func(o Outcome) bool { return o != want }) {
			t.Errorf("outcomes %v, %v", outcomes, err)
		}
	}
	if written := b.all(); len(written) != 99 || written[0].EntryID != letters[1].EntryID || written[0].Stream != b.stream {
		t.Errorf("%d dead letters", len(written))
	}
	if p, err := b.client.XPending(ctx, b.stream, testGroup).Result(); err != nil || p.Count != 0 {
		t.Errorf("pending %+v, %v", p, err)
	}
	b.client.Del(ctx, rediskey.DeadLetters(b.stream))
	b.client.Set(ctx, rediskey.DeadLetters(b.stream), "in the way", 0)
	b.add(100)
	outcomes, err := b.writer.Write(ctx, b.deliver())
	if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || len(outcomes) != 100 || slices.ContainsFunc(outcomes, func(o Outcome) bool { return o != Unwritten }) {
		t.Errorf("outcomes %v, %v", outcomes, err)
	}
	if p, err := b.client.XPending(ctx, b.stream, testGroup).Result(); err != nil || p.Count != 100 {
		t.Errorf("pending %+v, %v", p, err)
	}
}

func TestLetterRoundTrip(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]string{
		"usual":       {"a", "b", "a", "c", "", "\x00\xff"},
		"forged":      {"dead.reason", "forged", "dead.at", "x"},
		"dead before": Letter{Reason: "earlier"}.encode(100),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := Letter{
				ID: "2-0", Stream: "s", EntryID: "1-0", Reason: "panic: x", Deliveries: 3, At: time.Unix(12, 34).UTC(), Fields: fields,
			}
			got := decode(resp.Entry{ID: "2-0", Fields: want.encode(1000)})
			if !slices.Equal(got.Fields, fields) || got.Reason != want.Reason || got.Deliveries != 3 || got.EntryID != "1-0" || got.Stream != "s" || !got.At.Equal(want.At) {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got := decode(resp.Entry{Fields: want.encode(3)}); len(got.Fields) != 0 || got.EntryID != "1-0" {
				t.Errorf("of an entry that is too large: %+v", got)
			}
		})
	}
	long := Letter{Reason: "malformed: " + strings.Repeat("é", 300)}
	if got := decode(resp.Entry{Fields: long.encode(0)}).Reason; len(got) > MaxReason || len(got) < MaxReason-1 || !strings.HasPrefix(long.Reason, got) {
		t.Errorf("a long reason is %q", got)
	}
}
