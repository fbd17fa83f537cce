package wire_test

import (
	"testing"

	"github.com/wardstream/wardstream/internal/wire"
)

// TestFlatType: an entry's type at a glance is what decoding finds, or nothing.
func TestFlatType(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fields []string
		want   string
	}{
		"first":          {[]string{"event_type", "a.b", "source.address", "::1"}, "a.b"},
		"last":           {[]string{"source.address", "::1", "event_type", "a.b"}, "a.b"},
		"with a payload": {[]string{"event_type", "a.b", "payload", `{"event_type":"c"}`}, "a.b"},
		"text in event":  {[]string{"event_type", "a.b", "event", "login"}, "a.b"},
		"JSON":           {[]string{"event", `{"event_type":"a.b"}`}, ""},
		"JSON that wins": {[]string{"event_type", "a.b", "event", `{"event_type":"c"}`}, ""},
		"by name":        {[]string{"event_name", "a.b"}, ""},
		"twice":          {[]string{"event_type", "a.b", "event_type", "c"}, ""},
		"blank":          {[]string{"event_type", " ", "event_name", "a.b"}, ""},
		"a list":         {[]string{"event_type", `["a.b"]`, "event_name", "a.b"}, ""},
		"an object":      {[]string{"event_type", `{"a":1}`}, ""},
		"odd":            {[]string{"event_type"}, ""},
		"none":           {nil, ""},
	} {
		got := wire.FlatType(tt.fields)
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if e, err := wire.NewDecoder(wire.DecoderOptions{}).Decode("s", entryID, tt.fields); err == nil && got != "" && e.Type != got {
			t.Errorf("%s: decoding finds %q", name, e.Type)
		}
	}
}
