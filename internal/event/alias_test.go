package event_test

import (
	"testing"

	"github.com/wardstream/wardstream/internal/event"
)

func TestCanonicalizeEveryRawName(t *testing.T) {
	t.Parallel()
	for raw, canonical := range map[string]string{
		"srcip": "source.address", "client.address": "source.address", "source.ip": "source.address", "client.ip": "source.address",
		"user_id": "user.id", "actor.id": "user.id",
		"username": "user.name", "actor.name": "user.name",
		"session_id": "session.id", "path": "url.path", "url": "url.full", "method": "http.request.method",
		"status": "http.response.status_code", "status_code": "http.response.status_code",
		"route": "http.route", "route_pattern": "http.route", "route_name": "http.route_name",
	} {
		t.Run(raw, func(t *testing.T) {
			t.Parallel()
			alone := canonicalize([]event.Attr{{Name: "x", Value: "y"}, {Name: raw, Value: "v"}})
			check(t, alone, canonical, "v")
			check(t, alone, raw, "v")
			check(t, canonicalize([]event.Attr{{Name: raw, Value: "v"}, {Name: canonical, Value: "c"}}), canonical, "c")
			empty := canonicalize([]event.Attr{{Name: canonical, Value: ""}, {Name: raw, Value: "v"}})
			check(t, empty, canonical, "v")
			if len(empty) != 2 {
				t.Errorf("an empty canonical name was not filled in place: %v", empty)
			}
		})
	}
}

func TestCanonicalizeOtherSpellings(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		attrs []event.Attr
		name  string
		want  any
	}{
		"nested canonical":             {[]event.Attr{{Name: "user", Value: object{"id": "7"}}}, "user.id", "7"},
		"deeply nested canonical":      {[]event.Attr{{Name: "http", Value: object{"request": object{"method": "GET"}}}}, "http.request.method", "GET"},
		"nested raw":                   {[]event.Attr{{Name: "actor", Value: object{"id": event.Number("7")}}}, "user.id", event.Number("7")},
		"nested client address":        {[]event.Attr{{Name: "client", Value: object{"address": "192.0.2.1"}}}, "source.address", "192.0.2.1"},
		"flat raw before nested raw":   {[]event.Attr{{Name: "actor", Value: object{"id": "a"}}, {Name: "user_id", Value: "u"}}, "user.id", "u"},
		"nested canonical before raw":  {[]event.Attr{{Name: "user_id", Value: "u"}, {Name: "user", Value: object{"id": "n"}}}, "user.id", "n"},
		"flat canonical before nested": {[]event.Attr{{Name: "user", Value: object{"id": "n"}}, {Name: "user.id", Value: "c"}}, "user.id", "c"},
		"empty nested canonical":       {[]event.Attr{{Name: "user", Value: object{"id": ""}}, {Name: "user_id", Value: "u"}}, "user.id", "u"},
		"first raw empty":              {[]event.Attr{{Name: "srcip", Value: ""}, {Name: "client.address", Value: "192.0.2.1"}}, "source.address", "192.0.2.1"},
		"first raw wins":               {[]event.Attr{{Name: "client.address", Value: "192.0.2.2"}, {Name: "srcip", Value: "192.0.2.1"}}, "source.address", "192.0.2.1"},
		"status_code before status":    {[]event.Attr{{Name: "status", Value: "1"}, {Name: "status_code", Value: "2"}}, "http.response.status_code", "2"},
		"status after status_code":     {[]event.Attr{{Name: "status_code", Value: "2"}, {Name: "status", Value: "1"}}, "http.response.status_code", "2"},
		"route before route_pattern":   {[]event.Attr{{Name: "route", Value: "r"}, {Name: "route_pattern", Value: "p"}}, "http.route", "r"},
		"route after route_pattern":    {[]event.Attr{{Name: "route_pattern", Value: "p"}, {Name: "route", Value: "r"}}, "http.route", "r"},
		"an object is not a raw value": {[]event.Attr{{Name: "url", Value: object{"path": "/p"}}}, "url.full", nil},
		"path of a nested url":         {[]event.Attr{{Name: "url", Value: object{"path": "/p"}}}, "url.path", "/p"},
		"zero is a value":              {[]event.Attr{{Name: "user_id", Value: event.Number("0")}}, "user.id", event.Number("0")},
		"false is a value":             {[]event.Attr{{Name: "user.id", Value: false}, {Name: "user_id", Value: "u"}}, "user.id", false},
		"empty raw takes canonical":    {[]event.Attr{{Name: "route", Value: ""}, {Name: "http.route", Value: "/r"}}, "route", "/r"},
		"own raw stays beside it":      {[]event.Attr{{Name: "session_id", Value: "S"}, {Name: "session.id", Value: "s"}}, "session_id", "S"},
		"empty path stays empty":       {[]event.Attr{{Name: "path", Value: ""}, {Name: "url.path", Value: "/p"}}, "path", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, canonicalize(c.attrs), c.name, c.want)
		})
	}
}

func TestCanonicalizeKeepsUnknownNames(t *testing.T) {
	t.Parallel()
	attrs := []event.Attr{{Name: "event_type", Value: "x"}, {Name: "user", Value: "plain"}, {Name: "source.address", Value: "192.0.2.1"}}
	if got := canonicalize(attrs); len(got) != len(attrs) {
		t.Errorf("Canonicalize added to %v: %v", attrs, got)
	}
	if got := canonicalize(nil); got != nil {
		t.Errorf("Canonicalize(nil) = %v", got)
	}
}

func canonicalize(attrs []event.Attr) []event.Attr {
	out, _ := event.Canonicalize(attrs, event.NewPlaceholders(event.DefaultPlaceholders()))
	return out
}

func check(t *testing.T, attrs []event.Attr, name string, want any) {
	t.Helper()
	seen := 0
	for _, a := range attrs {
		if a.Name == name {
			seen++
		}
	}
	if seen > 1 {
		t.Errorf("%s is there %d times: %v", name, seen, attrs)
	}
	if got, ok := event.Find(attrs, name); got != want || ok != (want != nil) {
		t.Errorf("%s = %v, want %v in %v", name, got, want, attrs)
	}
}
