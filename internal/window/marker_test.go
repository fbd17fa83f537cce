package window

import (
	"testing"
	"time"
)

func TestMarkerIsReadAsWritten(t *testing.T) {
	t.Parallel()
	for _, m := range []Marker{{}, {Newest: 1}, {Floor: 1}, {Newest: maxTime, Floor: maxTime}, {Newest: 1_800_000_000_123, Floor: 1_800_000_000_007}} {
		log := m.Append(nil)
		if got := LogMarker(string(log)); got != m {
			t.Errorf("read %+v, wrote %+v", got, m)
		}
		if string(m.Append(nil)) == string(log) {
			t.Errorf("two markers of %+v are equal", m)
		}
	}
}

func TestMarkerIsOnlyWhatACompactionWrote(t *testing.T) {
	t.Parallel()
	spec := &Spec{Threshold: 3, Length: time.Second}
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(-5), {}, time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		op := Op{Spec: spec, Time: at, Member: "m", Tag: "t"}
		r := op.record()
		if got := LogMarker(string(r.Append(nil))); got != (Marker{}) {
			t.Errorf("an event of %s starts a log with %+v", at, got)
		}
		if n := Replay(spec, "", Clears{}).Apply(&op).Size; n != 1 {
			t.Errorf("an event of %s counts %d, want 1", at, n)
		}
	}
	if got := LogMarker("torn"); got != (Marker{}) {
		t.Errorf("a torn record is %+v", got)
	}
}
