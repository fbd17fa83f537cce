package detector

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
)

// TestEventWarningsAreLoggedOnceAMinute: each kind by itself, with how many there were since the
// last.
func TestEventWarningsAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := time.Unix(1767225600, 0)
	n := newEventWarnings(slog.New(slog.NewJSONHandler(&log, nil)), func() time.Time { return now }, prometheus.NewRegistry())
	conflict := &event.Event{ID: "1-0", Stream: "s", AddressConflict: true}
	for range 3 {
		n.event(conflict)
	}
	n.event(&event.Event{ID: "2-0", Truncated: true})
	n.event(&event.Event{ID: "3-0", Untimed: true})
	n.event(&event.Event{ID: "4-0"})
	n.malformed(wire.BadTime, "s", "5-0")
	n.malformed(wire.NotJSON, "s", "6-0")
	now = now.Add(59 * time.Second)
	n.event(conflict)
	now = now.Add(time.Second)
	n.event(conflict)
	type line struct {
		Level, Msg string
		EntryID    string `json:"entry_id"`
		Events     int
	}
	want := []line{{"WARN", "several addresses", "1-0", 1}, {"WARN", "no timestamp", "3-0", 1}, {"WARN", "can't be read", "5-0", 1}, {"WARN", "several addresses", "1-0", 4}}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("logged\n%s", log.String())
	}
	for i, text := range lines {
		var got line
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.Msg, want[i].Msg) || got.EntryID != want[i].EntryID || got.Events != want[i].Events || got.Level != "WARN" {
			t.Errorf("line %d is %+v, want %+v", i, got, want[i])
		}
	}
	if a, b, c := testutil.ToFloat64(n.conflicts), testutil.ToFloat64(n.truncated), testutil.ToFloat64(n.untimed); a != 5 || b != 1 || c != 1 {
		t.Errorf("%v conflicts, %v truncated, %v untimed", a, b, c)
	}
	(*eventWarnings)(nil).event(conflict)
	(*eventWarnings)(nil).malformed(wire.BadTime, "", "")
}
