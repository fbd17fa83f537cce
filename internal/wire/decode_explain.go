package wire

import (
	"encoding/json"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
)

// explain is the error of a flat entry without a type in which a field was meant to be the event
// and can't be; nil where there is none.
func explain(fields []string) error {
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "event", "data", "payload":
		default:
			continue
		}
		text := strings.TrimSpace(strings.TrimPrefix(fields[i+1], byteOrderMark))
		_, looksSo := objectText(text)
		switch {
		case looksSo: // data and payload, and neither is preferred
			return malformed(NoEventType, "two fields could hold the event, and no field has its type")
		case text == "":
			return malformed(Empty, "the field that holds the event is empty")
		case text[0] == '[' && json.Valid([]byte(text)):
			return malformed(NotObject, "the field that holds the event holds a list: publish each of its events as an entry of its own")
		case json.Valid([]byte(text)):
			return malformed(NotObject, "the field that holds the event is not a JSON object")
		case isPrinted(text):
			return errPrinted()
		}
		return malformed(NotJSON, "the field that holds the event is not JSON")
	}
	return nil
}

// isPrinted reports whether text is an object as Python prints it.
func isPrinted(text string) bool {
	return strings.HasPrefix(text, "{'") || strings.HasPrefix(text, "b'")
}

func errPrinted() error {
	return malformed(NotJSON, "the field that holds the event is printed, not serialised: write it with json.dumps or the like")
}

// nearMisses are names that were meant to be event_type.
func nearMisses() []string {
	return []string{
		"eventType", "EventType", "eventtype", "event-type", "event.type", "event_Type", "Event_Type", "EVENT_TYPE", "event_types", "event",
		"EventName", "eventname", "event-name", "type", "Type", "kind", "action", "event.action", "topic", "detail-type",
	}
}

// untyped says what an event without a type has instead.
func untyped(attrs []event.Attr) string {
	const nothing = "the entry has neither event_type nor event_name"
	e := event.Event{Attrs: attrs}
	has := func(name string) bool { return e.Text(name) != "" }
	switch {
	case has("specversion") && has("type"), has("ce_type"), has("ce-type"), has("ce_specversion"):
		return nothing + ", but is a CloudEvents envelope: publish its data, with event_type in it"
	case has("Records") || isListed(attrs, "Records"):
		return nothing + ", but is a batch of records: publish each as an entry of its own"
	}
	for _, name := range nearMisses() {
		if has(name) {
			return nothing + "; " + name + " is there: call it event_type"
		}
	}
	for _, around := range [...]string{"event", "data", "payload", "body", "message", "value", "detail", "attributes", "fields"} {
		for _, name := range [...]string{"event_type", "event_name", "eventType", "type"} {
			if has(around + "." + name) {
				return nothing + "; " + name + " is inside " + around + ": publish what is in " + around
			}
		}
	}
	return nothing
}

func isListed(attrs []event.Attr, name string) bool {
	v, _ := event.Find(attrs, name)
	_, ok := v.([]any)
	return ok
}
