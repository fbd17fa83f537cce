package wire_test

import (
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/wire"
)

// TestDecodeReasonsSuggestFix: a dead letter says what was probably meant.
func TestDecodeReasonsSuggestFix(t *testing.T) {
	t.Parallel()
	flat := func(fields ...string) []string { return append(fields, "source.address", "192.0.2.1") }
	for want, fields := range map[string][]string{
		"eventType is there: call it event_type":                         flat("eventType", "x"),
		"EventType is there":                                             {"event", `{"EventType":"x"}`},
		"; type is there":                                                flat("type", "x"),
		"; event.type is there":                                          flat("event.type", "x"),
		"event-type is there":                                            {"event", `{"event-type":"x","type":"y"}`},
		"; action is there":                                              flat("action", "login_failed"),
		"event.action is there":                                          {"event", `{"event":{"action":"x"}}`},
		"a CloudEvents envelope: publish its data":                       {"event", `{"specversion":"1.0","type":"com.shop.login","source":"/shop","id":"1","data":{"event_type":"x"}}`},
		"but is a CloudEvents envelope":                                  flat("ce_type", "x", "ce_id", "1"),
		"event_type is inside data: publish what is in data":             {"event", `{"data":{"event_type":"x"}}`},
		"event_type is inside payload":                                   {"event", `{"id":1,"payload":{"event_type":"x"}}`},
		"type is inside detail":                                          {"event", `{"detail":{"type":"x"}}`},
		"is a batch of records":                                          {"event", `{"Records":[{"event_type":"x"}]}`},
		"several log records: publish each as an entry":                  {"event", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"x"}]},{"logRecords":[{"eventName":"y"}]}]}]}`},
		"holds a list: publish each of its events":                       {"event", `[{"event_type":"x"}]`},
		"is printed, not serialised":                                     {"event", `{'event_type': 'x'}`},
		"two fields could hold the event":                                {"data", `{"event_type":"x"}`, "payload", `{"event_type":"x"}`},
		"user.id has two values":                                         {"event_type", "x", "user.id", "1", "user.id", "2"},
		"the value of user.id is not a single OTLP value":                {"event", `{"event_name":"x","attributes":[{"key":"user.id","value":{"stringValue":"1","intValue":1}}]}`},
		"no_event_type: the entry has neither event_type nor event_name": flat("a", "b"),
	} {
		_, err := wire.NewDecoder(wire.DecoderOptions{}).Decode("s", entryID, fields)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", fields, err, want)
		}
	}
}
