package config

import (
	"reflect"

	"github.com/wardstream/wardstream/internal/rules"
)

// A Builtin is a built-in rule with its defaults, and the event types it asks for.
type Builtin struct {
	Rule

	EventFilter rules.EventFilter
}

// Builtins returns all built-in rules, sorted by name.
func Builtins() []Builtin {
	names := rules.Names()
	out := make([]Builtin, len(names))
	for i, name := range names {
		out[i] = builtin(name)
	}
	return out
}

// builtin builds the rule of that name of its defaults. One parameter has none
// and must be given: what sensitive_field_change calls sensitive.
func builtin(name string) Builtin {
	b := Builtin{Rule: Rule{Name: name, Type: name}}
	var fields reflect.Value
	built, _, err := rules.Build([]rules.Spec{{Name: name, Decode: func(params any) error {
		b.params = params
		if fields = reflect.ValueOf(params).Elem().FieldByName("Fields"); fields.IsValid() {
			fields.Set(reflect.ValueOf([]string{"field"}))
		}
		return nil
	}}}, 0)
	if fields.IsValid() {
		fields.SetZero()
	}
	if err == nil {
		b.EventFilter = built[0].EventFilter()
	}
	return b
}
