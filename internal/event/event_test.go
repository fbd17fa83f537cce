package event_test

import (
	"encoding/json"
	"testing"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

type object = map[string]any

func TestGet(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		attrs []event.Attr
		nulls []string
		name  string
		want  string // JSON of the value, "" for absent
	}{
		"flat":                             {attrs: []event.Attr{{Name: "a.b", Value: "x"}}, name: "a.b", want: `"x"`},
		"flat before nested":               {attrs: []event.Attr{{Name: "a", Value: object{"b": "n"}}, {Name: "a.b", Value: "f"}}, name: "a.b", want: `"f"`},
		"nested":                           {attrs: []event.Attr{{Name: "a", Value: object{"b": object{"c": event.Number("3")}}}}, name: "a.b.c", want: `3`},
		"an object":                        {attrs: []event.Attr{{Name: "a", Value: object{"b": nil}}}, name: "a", want: `{"b":null}`},
		"nested null":                      {attrs: []event.Attr{{Name: "a", Value: object{"b": nil}}}, name: "a.b"},
		"flat null hides nested":           {attrs: []event.Attr{{Name: "a", Value: object{"b": "n"}}}, nulls: []string{"a.b"}, name: "a.b"},
		"path through a string":            {attrs: []event.Attr{{Name: "a", Value: "str"}}, name: "a.b"},
		"path starts at the first segment": {attrs: []event.Attr{{Name: "a.b", Value: object{"c": "x"}}}, name: "a.b.c"},
		"member with a dot":                {attrs: []event.Attr{{Name: "r", Value: object{"service.name": "s"}}}, name: "r.service.name", want: `"s"`},
		"member with a dot before split":   {attrs: []event.Attr{{Name: "r", Value: object{"a.b": "flat", "a": object{"b": "split"}}}}, name: "r.a.b", want: `"flat"`},
		"split where the dotted one ends":  {attrs: []event.Attr{{Name: "r", Value: object{"a.b": "end", "a": object{"b": object{"c": "x"}}}}}, name: "r.a.b.c", want: `"x"`},
		"dot at the end":                   {attrs: []event.Attr{{Name: "a", Value: object{"": "x"}}}, name: "a.", want: `"x"`},
		"raw name finds canonical":         {attrs: []event.Attr{{Name: "source.address", Value: "192.0.2.1"}}, name: "srcip", want: `"192.0.2.1"`},
		"raw name of its own":              {attrs: []event.Attr{{Name: "source.address", Value: "192.0.2.1"}, {Name: "srcip", Value: "o"}}, name: "srcip", want: `"o"`},
		"raw null finds canonical":         {attrs: []event.Attr{{Name: "session.id", Value: "s"}}, nulls: []string{"session_id"}, name: "session_id", want: `"s"`},
		"route":                            {attrs: []event.Attr{{Name: "http.route", Value: "/r"}}, name: "route", want: `"/r"`},
		"route_name":                       {attrs: []event.Attr{{Name: "http.route_name", Value: "r"}}, name: "route_name", want: `"r"`},
		"user_id":                          {attrs: []event.Attr{{Name: "user.id", Value: "7"}}, name: "user_id", want: `"7"`},
		"route_pattern is no other's name": {attrs: []event.Attr{{Name: "http.route", Value: "/r"}}, name: "route_pattern"},
		"absent":                           {name: "a.b"},
		"no name":                          {attrs: []event.Attr{{Name: "a", Value: "x"}}, name: ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := event.Event{Attrs: c.attrs, Nulls: c.nulls}
			v, ok := e.Get(c.name)
			if ok != (c.want != "") {
				t.Fatalf("Get(%q) = %v, %v", c.name, v, ok)
			}
			if ok && text(t, v) != c.want {
				t.Errorf("Get(%q) = %s, want %s", c.name, text(t, v), c.want)
			}
		})
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestText(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{"s": "s", "1e5": event.Number("1e5"), "true": true, "false": false} {
		if got, ok := event.Text(v); !ok || got != want {
			t.Errorf("Text(%v) = %q, %v", v, got, ok)
		}
	}
	for _, v := range []any{nil, object{}, []any{"s"}} {
		if got, ok := event.Text(v); ok || got != "" {
			t.Errorf("Text(%v) = %q, %v", v, got, ok)
		}
	}
	e := event.Event{Attrs: []event.Attr{{Name: "n", Value: event.Number("42.0")}}}
	if e.Text("n") != "42.0" || e.Text("absent") != "" {
		t.Errorf("Text(n) = %q, Text(absent) = %q", e.Text("n"), e.Text("absent"))
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	e := event.Event{Scopes: []checker.Scope{{Type: "ip", Value: "192.0.2.1"}, {Type: "user", Value: "7"}}}
	if e.Scope("user") != "7" || e.Scope("session") != "" {
		t.Errorf("Scope(user) = %q, Scope(session) = %q", e.Scope("user"), e.Scope("session"))
	}
}

func TestNumberKeepsItsText(t *testing.T) {
	t.Parallel()
	for in, want := range map[event.Number]string{"0.10": "0.10", "1E+5": "1E+5", "-0": "-0", "": "0"} {
		if got := text(t, []any{in}); got != "["+want+"]" {
			t.Errorf("Number(%q) is written %s", in, got)
		}
	}
	if _, err := json.Marshal(event.Number("abc")); err == nil {
		t.Error("an invalid number was written")
	}
}
