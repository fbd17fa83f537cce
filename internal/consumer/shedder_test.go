package consumer

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// shedding has options skip what is benign and a minute late, and returns how many were.
func shedding(o *Options) *atomic.Int64 {
	var skipped atomic.Int64
	o.MaxLag = time.Minute
	o.Shed = Shedding{
		Field: "kind", Values: []string{"benign", "noise.*"}, Unless: "event",
		Count: func(n int) { skipped.Add(int64(n)) },
	}
	return &skipped
}

// addOld adds an entry as of an age ago, the n-th of that millisecond.
func (b *fixture) addOld(age time.Duration, n int, fields ...string) string {
	b.t.Helper()
	id := fmt.Sprintf("%d-%d", time.Now().Add(-age).Truncate(time.Minute).UnixMilli(), n)
	if err := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, ID: id, Values: fields}).Err(); err != nil {
		b.t.Fatal(err)
	}
	return id
}

// TestSheddingSkipsListedLateEntries: late entries that say in one field that they may be skipped
// are, and no others.
func TestSheddingSkipsListedLateEntries(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	var kept, skips []string
	keep := func(age time.Duration, fields ...string) {
		kept = append(kept, b.addOld(age, len(kept)+len(skips)+1, fields...))
	}
	skip := func(fields ...string) {
		skips = append(skips, b.addOld(time.Hour, len(kept)+len(skips)+1, fields...))
	}
	keep(time.Hour, "kind", "benign") // read before it is known that anything is late
	skip("kind", "benign")
	skip("a", "kind", "kind", "benign", "b", "malign")
	skip("kind", "noise.")
	skip("kind", "noise.some")
	skip("kind", "benign", "payload", `{"kind":"malign"}`)
	keep(time.Hour, "kind", "malign")
	keep(time.Hour, "kind", "benign.not")
	keep(time.Hour, "kind", "noise")
	keep(time.Hour, "kind", " benign")
	keep(time.Hour, "a", "kind", "b", "benign")
	keep(time.Hour, "kind", "benign", "kind", "benign")
	keep(time.Hour, "kind", "benign", "kind", "malign")
	keep(time.Hour, "kind", "malign", "kind", "benign")
	keep(time.Hour, "kind", "benign", "event", "{}")
	keep(time.Hour, "event", "x", "kind", "benign")
	skip("kind", "noise.*")
	keep(time.Hour, "kind", "noise.*\x00")
	keep(time.Hour, "kind", "noise.1\n")
	keep(time.Hour, "kind", "noise.\xff")
	keep(time.Hour, "kind", "benign\n")
	keep(time.Hour, "kind", `"benign"`)
	keep(0, "kind", "benign")
	o, h := b.options(), &recorder{}
	o.BatchSize = 1 // so that the first is read by itself
	skipped := shedding(&o)
	w := b.start(o, h)
	b.allHandled(kept, h)
	b.eventually(func() error { return want("skipped", skipped.Load(), int64(len(skips))) })
	_ = w.stop()
	for _, id := range skips {
		if h.times(id) != 0 {
			t.Errorf("%s was handled", id)
		}
	}
	for _, id := range kept {
		if e := h.entry(id); h.times(id) != 1 || e.Deliveries != 1 || e.Tried || e.Stream != b.stream || len(e.Fields) == 0 {
			t.Errorf("%s was handled %d times: %+v", id, h.times(id), e)
		}
	}
	if n := w.metric("wardstream_entries_delivered_total"); n != float64(len(kept)+len(skips)) {
		t.Errorf("%v delivered", n)
	}
	groups, err := b.client.XInfoGroups(t.Context(), b.stream).Result()
	if err != nil || len(groups) != 1 || groups[0].Lag != 0 || groups[0].EntriesRead != int64(len(kept)+len(skips)) {
		t.Errorf("groups %+v, %v", groups, err)
	}
}

// TestSheddingLosesNothing: what isn't skipped is pending for the worker that read it, as often
// delivered as if it had been read the usual way, and another claims it should the first die.
func TestSheddingLosesNothing(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	var kept []string
	for n := range 600 {
		if kind := []string{"benign", "malign", "noise.1"}[n%3]; kind == "malign" {
			kept = append(kept, b.addOld(time.Hour, n+1, "kind", kind))
		} else {
			b.addOld(time.Hour, n+1, "kind", kind)
		}
	}
	batches := 0
	first := &recorder{handle: func(ctx context.Context, batch []Entry) ([]Verdict, error) {
		if batches++; batches > 1 { // the first was read before it was known that anything is late
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return all(batch, Done), nil
	}}
	o := b.options()
	o.ClaimMinIdle, o.BatchSize = time.Hour, 200
	shedding(&o)
	w := b.start(o, first)
	b.eventually(func() error { return want("in flight", first.times(kept[100]), 1) })
	pending, err := b.client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: b.stream, Group: testGroup, Start: "-", End: "+", Count: 1000}).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(pending) == 0 {
		t.Error("nothing is pending")
	}
	for _, p := range pending {
		if !slices.Contains(kept, p.ID) || p.RetryCount != 1 || p.Consumer != pending[0].Consumer {
			t.Errorf("pending %+v", p)
		}
	}
	w.Kill()
	_ = w.stop()
	o = b.options()
	o.Consumer, o.ClaimMinIdle = "other", 10*time.Millisecond
	second := &recorder{}
	shedding(&o)
	b.start(o, second)
	b.allHandled(kept, first, second)
}

// TestSheddingRefusedByRedisReadsNormally: where the script is refused it has taken nothing from
// the stream, and entries are read the usual way for a while.
func TestSheddingRefusedByRedisReadsNormally(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"xclaim", "evalsha", "time"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			b, _ := privateFixture(t)
			var ids []string
			for n := range 50 {
				ids = append(ids, b.addOld(time.Hour, n+1, "kind", []string{"benign", "malign"}[n%2]))
			}
			if err := b.client.Do(t.Context(), "ACL", "SETUSER", "default", "-"+command).Err(); err != nil {
				t.Fatal(err)
			}
			o, h := b.options(), &recorder{}
			o.BatchSize = 10
			skipped := shedding(&o)
			w := b.start(o, h)
			b.allHandled(ids, h)
			if n, failed := skipped.Load(), w.metric("wardstream_read_errors_total"); n != 0 || failed != 1 {
				t.Errorf("%d skipped, %v reads failed", n, failed)
			}
			for _, id := range ids {
				if n := h.times(id); n != 1 {
					t.Errorf("%s was handled %d times", id, n)
				}
			}
		})
	}
}

// TestSheddingWithFewSkipsPauses: where the script skips next to nothing, what follows is read
// the usual way.
func TestSheddingWithFewSkipsPauses(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	var ids []string
	for n := range 2*DefaultBatchSize + shedEntries {
		ids = append(ids, b.addOld(time.Hour, n+1, "event", "{}", "kind", "benign"))
	}
	var sizes []int // only the loop's goroutine handles
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		sizes = append(sizes, len(batch))
		return all(batch, Done), nil
	}}
	now := time.Now()
	o := b.options()
	o.BatchSize, o.Now = DefaultBatchSize, func() time.Time { return now } // the pause doesn't end
	shedding(&o)
	w := b.start(o, h)
	b.allHandled(ids, h)
	_ = w.stop()
	if !slices.Equal(sizes, []int{DefaultBatchSize, shedEntries, DefaultBatchSize}) {
		t.Errorf("batches of %d", sizes)
	}
}

// TestSheddingOnOtherServers: a Cluster, and the server that the demo uses, do the same.
func TestSheddingOnOtherServers(t *testing.T) {
	t.Parallel()
	node := clusterNodes(t, 1)[0]
	embedded := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: embedded.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	for url, b := range map[string]*fixture{
		"redis+cluster://" + node.Addr: {t: t, url: node.URL, client: node.Client, prefix: node.Prefix, stream: node.Prefix + ":events"},
		"redis://" + embedded.Addr():   {t: t, url: "redis://" + embedded.Addr(), client: client, prefix: "p", stream: "p:events"},
	} {
		var malign []string
		for n := range 41 {
			if id := b.addOld(time.Hour, n+1, "kind", []string{"malign", "benign"}[n%2]); n%2 == 0 {
				malign = append(malign, id)
			}
		}
		o, h := b.connected(url, ConnectOptions{Block: 50 * time.Millisecond}), &recorder{}
		o.BatchSize = 1
		skipped := shedding(&o)
		b.start(o, h)
		b.allHandled(malign, h)
		b.eventually(func() error { return want("skipped at "+url, skipped.Load(), int64(20)) })
	}
}
