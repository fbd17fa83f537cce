package wire_test

import (
	"testing"

	"github.com/wardstream/wardstream/internal/wire"
)

// TestRecordMembers: a LogRecord's own members are found under one name,
// whichever of OpenTelemetry's spellings the producer has, and do not count as attributes.
func TestRecordMembers(t *testing.T) {
	t.Parallel()
	for name, spellings := range map[string][]string{
		"timestamp":                {"timestamp", "time_unix_nano", "timeUnixNano"},
		"observed_timestamp":       {"observed_timestamp", "observed_time_unix_nano", "observedTimeUnixNano"},
		"severity_text":            {"severity_text", "severityText"},
		"severity_number":          {"severity_number", "severityNumber"},
		"event_name":               {"event_name", "eventName"},
		"body":                     {"body"},
		"resource":                 {"resource"},
		"schema_version":           {"schema_version"},
		"instrumentation_scope":    {"instrumentation_scope", "instrumentationScope"},
		"trace_id":                 {"trace_id", "traceId"},
		"span_id":                  {"span_id", "spanId"},
		"trace_flags":              {"trace_flags", "traceFlags", "flags"},
		"dropped_attributes_count": {"dropped_attributes_count", "droppedAttributesCount"},
		"schema_url":               {"schema_url", "schemaUrl"},
	} {
		for _, spelling := range spellings {
			o := wire.DecoderOptions{Limits: wire.Limits{Attributes: 1}}
			e := decode(t, o, "event", `{"`+spelling+`":"v","attributes":{"event_type":"x"}}`)
			if e.Text(name) != "v" {
				t.Errorf("%s is not %s: %v", spelling, name, e.Attrs)
			}
		}
	}
}
