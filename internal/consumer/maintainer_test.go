package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// addAt adds n entries with the given time.
func (b *fixture) addAt(at time.Time, n int) {
	b.t.Helper()
	pipe := b.client.Pipeline()
	for i := range n {
		pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, ID: fmt.Sprintf("%d-%d", at.UnixMilli(), i+1), Values: []string{"a", "b"}})
	}
	if _, err := pipe.Exec(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *fixture) group(name string) {
	b.t.Helper()
	if err := b.client.XGroupCreateMkStream(context.Background(), b.stream, name, "0").Err(); err != nil {
		b.t.Fatal(err)
	}
}

// readAs has a group read n entries, and ack those whose index ack accepts.
func (b *fixture) readAs(group string, n int64, ack func(i int) bool) {
	b.t.Helper()
	ctx := context.Background()
	read, err := b.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: "c", Streams: []string{b.stream, ">"}, Count: n, Block: -1,
	}).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for i, m := range read[0].Messages {
		if ack(i) {
			ids = append(ids, m.ID)
		}
	}
	if len(ids) > 0 {
		b.client.XAck(ctx, b.stream, group, ids...)
	}
}

// setBack has a group read everything again, as XGROUP SETID does.
func (b *fixture) setBack(group string) {
	b.t.Helper()
	if err := b.client.XGroupSetID(context.Background(), b.stream, group, "0").Err(); err != nil {
		b.t.Fatal(err)
	}
}

func every(int) bool { return true }

func TestRetentionKeepsWhatAnyGroupNeeds(t *testing.T) {
	t.Parallel()
	old := time.Now().Add(-48 * time.Hour)
	cases := map[string]struct {
		prepare func(b *fixture) // 1,000 old entries and 1,000 new ones are there
		keeps   int64            // entries; Redis keeps up to 99 more
	}{
		"nothing needed": {func(b *fixture) {
			b.group(testGroup)
			b.readAs(testGroup, 2000, every)
		}, 1000},
		"unread by us": {func(b *fixture) {
			b.group(testGroup)
			b.readAs(testGroup, 400, every)
		}, 1601},
		"pending with us": {func(b *fixture) {
			b.group(testGroup)
			b.readAs(testGroup, 2000, func(i int) bool { return i != 250 })
		}, 1750},
		"unread by another group": {func(b *fixture) {
			b.group(testGroup)
			b.group("other")
			b.readAs(testGroup, 2000, every)
			b.readAs("other", 300, every)
		}, 1701},
		"pending with another group": {func(b *fixture) {
			b.group(testGroup)
			b.group("other")
			b.readAs(testGroup, 2000, every)
			b.readAs("other", 2000, func(i int) bool { return i < 500 || i > 600 })
		}, 1500},
		"never read by another group": {func(b *fixture) {
			b.group(testGroup)
			b.group("other")
			b.readAs(testGroup, 2000, every)
		}, 2000},
		"unread again by a group that was set back": {func(b *fixture) {
			b.group(testGroup)
			b.readAs(testGroup, 2000, func(i int) bool { return i != 600 })
			b.setBack(testGroup)
		}, 2000},
		"our group is gone": {func(b *fixture) {
			b.group("other")
			b.readAs("other", 2000, every)
		}, 2000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			ctx := context.Background()
			b.addAt(old, 1000)
			b.addAt(time.Now(), 1000)
			tc.prepare(b)
			trimmed, err := trim(ctx, b.client, b.stream, testGroup, 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			n := b.client.XLen(ctx, b.stream).Val()
			if n < tc.keeps || n >= tc.keeps+100 || n+trimmed != 2000 {
				t.Errorf("%d entries are left and %d trimmed, want %d left", n, trimmed, tc.keeps)
			}
			if n, err := trim(ctx, b.client, b.stream, testGroup, 24*time.Hour); err != nil || n != 0 {
				t.Errorf("trimming again: %d, %v", n, err)
			}
		})
	}
}

func TestRetentionTrimsLongStreams(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.addAt(time.Now().Add(-48*time.Hour), 5*trimLimit)
	b.group(testGroup)
	b.readAs(testGroup, 5*trimLimit, every)
	b.add(1)
	n, err := trim(context.Background(), b.client, b.stream, testGroup, 24*time.Hour)
	if err != nil || n < 5*trimLimit-100 {
		t.Errorf("trimmed %d, %v", n, err)
	}
}

func TestRetentionOfEmptyStream(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	if n, err := trim(context.Background(), b.client, b.stream, testGroup, time.Hour); err != nil || n != 0 {
		t.Errorf("trimming no stream: %d, %v", n, err)
	}
	b.group(testGroup)
	for _, retention := range []time.Duration{time.Millisecond, 1 << 62} {
		if n, err := trim(context.Background(), b.client, b.stream, testGroup, retention); err != nil || n != 0 {
			t.Errorf("trimming an empty stream: %d, %v", n, err)
		}
	}
}

// TestEntryIDsAreComparedExactly compares IDs past what a double holds.
func TestEntryIDsAreComparedExactly(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	for _, tc := range []struct {
		a, b string
		want int64
	}{
		{"9-0", "10-0", 1},
		{"10-0", "9-0", 0},
		{"5-9", "5-10", 1},
		{"5-5", "5-5", 0},
		{"9007199254740993-0", "9007199254740992-0", 0},
		{"9007199254740992-0", "9007199254740993-0", 1},
		{"18446744073709551614-18446744073709551615", "18446744073709551615-0", 1},
	} {
		got, err := b.client.Eval(context.Background(), prelude+`return before(ARGV[1], ARGV[2]) and 1 or 0`, nil, tc.a, tc.b).Int64()
		if err != nil || got != tc.want {
			t.Errorf("before(%s, %s) is %d, %v", tc.a, tc.b, got, err)
		}
	}
}

func TestJanitorRemovesIdleConsumers(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	b.add(3)
	owned := b.deliver("owner", 2)
	for _, name := range []string{"idle", "other"} {
		if err := b.client.XGroupCreateConsumer(ctx, b.stream, testGroup, name).Err(); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string, idle time.Duration) []string {
		t.Helper()
		names, err := removeConsumers(ctx, b.client, b.stream, testGroup, name, idle)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return names
	}
	if got := remove("", time.Hour); len(got) != 0 {
		t.Errorf("removed %v before their time", got)
	}
	if got := remove("owner", 0); len(got) != 0 {
		t.Errorf("removed %v, which owns entries", got)
	}
	if got := remove("other", 0); !slices.Equal(got, []string{"other"}) {
		t.Errorf("removed %v", got)
	}
	if got := remove("", 0); !slices.Equal(got, []string{"idle"}) {
		t.Errorf("removed %v", got)
	}
	if n, err := b.pending(); err != nil || n != int64(len(owned)) {
		t.Errorf("%d pending, %v", n, err)
	}
	if names, err := removeConsumers(ctx, b.client, b.stream+":none", testGroup, "", 0); err != nil || len(names) != 0 {
		t.Errorf("without a stream: %v, %v", names, err)
	}
}

// TestWorkerRunsMaintenance has a worker trim, measure and sweep by itself.
func TestWorkerRunsMaintenance(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	b.addAt(time.Now().Add(-48*time.Hour), 500)
	o := b.options()
	o.Retention = 24 * time.Hour
	o.every = intervals{sample: 10 * time.Millisecond, trim: 10 * time.Millisecond, sweep: 10 * time.Millisecond, idle: time.Second}
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		if slices.Contains(batch[0].Fields, "blocked") {
			return all(batch, Pending), errOutage
		}
		return all(batch, Done), nil
	}}
	w := b.start(o, h)
	b.eventually(func() error {
		return errors.Join(
			want("entries left", b.client.XLen(ctx, b.stream).Val() <= 100, true),
			want("trimmed", w.metric("wardstream_entries_trimmed_total") >= 400, true))
	})
	if err := b.client.XGroupCreateConsumer(ctx, b.stream, testGroup, "gone").Err(); err != nil {
		t.Fatal(err)
	}
	b.add(3, "blocked", "")
	b.eventually(func() error {
		consumers, err := b.client.XInfoConsumers(ctx, b.stream, testGroup).Result()
		if len(consumers) > 0 && consumers[0].Name != "w-0" {
			return fmt.Errorf("%s is still there", consumers[0].Name)
		}
		return errors.Join(err, want("consumers", len(consumers), 1),
			want("pending", w.metric("wardstream_stream_pending"), 3.0),
			want("lag", w.metric("wardstream_stream_lag"), 0.0),
			want("an age", w.metric("wardstream_stream_oldest_unprocessed_seconds") > 0, true))
	})
}
