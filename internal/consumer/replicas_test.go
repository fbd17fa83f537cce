package consumer

import (
	"context"
	"sync"
	"testing"
)

// TestTooFewReplicasDelaysAcks: a master with min-replicas-to-write refuses writes while it has too
// few. What is in flight is handled again, and acked, once it has enough again.
func TestTooFewReplicasDelaysAcks(t *testing.T) {
	t.Parallel()
	b, _ := privateFixture(t)
	replicas := func(n string) {
		t.Helper()
		if err := b.client.ConfigSet(context.Background(), "min-replicas-to-write", n).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ids := b.add(10)
	var lost sync.Once
	h := &recorder{handle: func(_ context.Context, batch []Entry) ([]Verdict, error) {
		lost.Do(func() { replicas("1") })
		return all(batch, Done), nil
	}}
	w := b.start(b.options(), h)
	b.eventually(func() error { return want("read errors", w.metric("wardstream_read_errors_total") > 0, true) })
	if n := w.metric("wardstream_entries_acked_total"); n != 0 {
		t.Errorf("%v acked without a replica", n)
	}
	replicas("0")
	b.allHandled(ids, h)
	if letters := b.deadLetters(); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
}
