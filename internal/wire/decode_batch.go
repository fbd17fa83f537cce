package wire

import (
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wardstream/wardstream/internal/event"
)

// readBatch reads the one log record of an OTLP/JSON export request in place of the request. A
// document that has a type is left alone.
func (s *scratch) readBatch(text string) error {
	var m wellKnown
	m.find(s.attrs)
	if m.eventType(&event.Event{Attrs: s.attrs}) != "" {
		return nil
	}
	r := exportRequest{tokens: newTokens()}
	r.tokens.from(text)
	switch err := r.object(); {
	case errors.Is(err, errSeveral):
		return malformed(Batch, "this is an OTLP export request of several log records: publish each as an entry of its own")
	case err != nil || !r.lists:
		return nil //nolint:nilerr // members of those names with something else in them: that it has no type is the error to report
	case r.record == "":
		return malformed(Batch, "this is an OTLP export request without a log record")
	}
	s.restart()
	record, ok := objectText(r.record)
	if !ok {
		return malformed(Batch, "the log record of this OTLP export request is not an object")
	}
	if err := s.readDocument(record); err != nil {
		return err
	}
	if _, taken := event.Find(s.attrs, "resource"); r.resource != "" && !taken {
		if v, ok := s.embedded("resource", r.resource); ok {
			resource := event.AnyAttr("resource", s.recordValue("resource", v))
			s.add(&s.attrs, &resource)
		}
	}
	return nil
}

// errSeveral is returned where an export request has more than one log record.
var errSeveral = errors.New("several log records")

// An exportRequest takes an OTLP/JSON export request apart, in either spelling that there is.
type exportRequest struct {
	tokens           *tokens
	record, resource string // JSON; "" until found
	lists            bool   // a list of records was there, or of what has them
}

// object reads an object that has log records somewhere in its lists.
func (r *exportRequest) object() error {
	if r.tokens.dec.PeekKind() != jsontext.KindBeginObject {
		return r.tokens.dec.SkipValue()
	}
	_, err := r.tokens.next()
	for err == nil && r.tokens.dec.PeekKind() == jsontext.KindString {
		var name jsontext.Token
		if name, err = r.tokens.next(); err != nil {
			break
		}
		switch name.String() {
		case "resourceLogs", "resource_logs", "scopeLogs", "scope_logs":
			err = r.list(r.object)
		case "logRecords", "log_records":
			err = r.list(r.one)
		case "resource":
			r.resource, err = r.value()
		default:
			err = r.tokens.dec.SkipValue()
		}
	}
	if err == nil {
		_, err = r.tokens.next()
	}
	return err
}

// list has each item of a list read.
func (r *exportRequest) list(item func() error) error {
	if r.tokens.dec.PeekKind() != jsontext.KindBeginArray {
		return r.tokens.dec.SkipValue()
	}
	r.lists = true
	_, err := r.tokens.next()
	for err == nil {
		switch r.tokens.dec.PeekKind() {
		case jsontext.KindEndArray, jsontext.KindInvalid:
			_, err = r.tokens.next()
			return err
		}
		err = item()
	}
	return err
}

// one keeps a log record, if it is the first.
func (r *exportRequest) one() (err error) {
	if r.record != "" {
		return errSeveral
	}
	r.record, err = r.value()
	return err
}

func (r *exportRequest) value() (string, error) {
	v, err := r.tokens.dec.ReadValue()
	return string(v), err
}
