package detector

import (
	"fmt"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/wire"
)

// timeOf is when an entry was added, by its ID.
func timeOf(t *testing.T, e consumer.Entry) time.Time {
	t.Helper()
	var ms int64
	if _, err := fmt.Sscanf(e.ID, "%d-", &ms); err != nil {
		t.Fatal(err)
	}
	return time.UnixMilli(ms)
}

// TestEmittedEventNamesItsCause: an event has the time and the trace of the one that led to it, and
// says when that was decided.
func TestEmittedEventNamesItsCause(t *testing.T) {
	t.Parallel()
	b := newBench(t, "rules: [{name: brute_force_login, threshold: 2}, {name: resource_enumeration, threshold: 2}]\n")
	decided := time.Now().Add(time.Second)
	b.now = func() time.Time { return decided }
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033%02d-01"
	var entries []consumer.Entry
	for i := range 2 {
		entries = append(entries,
			b.entry("event_type", "auth.login.failed", "source.address", "203.0.113.9", "traceparent", fmt.Sprintf(parent, i)),
			b.entry("event_type", "http.response.success", "source.address", "203.0.113.9", "http.route", "/u", "url.path", fmt.Sprint("/u/", i), "traceparent", fmt.Sprintf(parent, 10+i)))
	}
	b.must("DDDD", entries...)
	if len(b.emitted) != 2 {
		t.Fatalf("emitted %+v", b.emitted)
	}
	for i, want := range []struct {
		typ, parent string
		cause       consumer.Entry
	}{{wire.TypeBlockApplied, fmt.Sprintf(parent, 1), entries[2]}, {wire.TypeAlert, fmt.Sprintf(parent, 11), entries[3]}} {
		e := b.emitted[i]
		if e.Type != want.typ || e.TraceParent != want.parent || !e.Time.Equal(timeOf(t, want.cause)) || !e.Observed.Equal(decided) {
			t.Errorf("emitted %+v, want %s of %s at %s", e, want.typ, want.parent, timeOf(t, want.cause))
		}
	}
}

// TestDetectionDelay is measured from the entry's ID to the block being written, for blocks that
// begin.
func TestDetectionDelay(t *testing.T) {
	t.Parallel()
	b := newBench(t, "rules: [{name: brute_force_login, threshold: 1}]\n")
	entry := b.failures(1, "203.0.113.9")[0]
	b.now = func() time.Time { return timeOf(t, entry).Add(1500 * time.Millisecond) }
	b.must("D", entry)
	b.must("D", b.failures(1, "203.0.113.9")...) // an extension
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if h := f.GetMetric()[0].GetHistogram(); f.GetName() == "wardstream_detection_delay_seconds" {
			if h.GetSampleCount() != 1 || h.GetSampleSum() != 1.5 {
				t.Errorf("%d delays of %v s in all", h.GetSampleCount(), h.GetSampleSum())
			}
			return
		}
	}
	t.Error("the delay is not measured")
}
