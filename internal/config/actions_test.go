package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/rules"
)

// TestActionTagsListEveryAction: a struct tag cannot name the constants.
func TestActionTagsListEveryAction(t *testing.T) {
	t.Parallel()
	var names []string
	for _, a := range rules.Actions() {
		names = append(names, string(a))
	}
	want := strings.Join(names, "|")
	for _, field := range []struct {
		of   reflect.Type
		name string
	}{{reflect.TypeFor[config.Action](), "Action"}, {reflect.TypeFor[config.Blocks](), "DefaultAction"}} {
		f, ok := field.of.FieldByName(field.name)
		if got := f.Tag.Get("oneof"); !ok || got != want {
			t.Errorf("the oneof tag of %s.%s is %q: make it %q", field.of.Name(), field.name, got, want)
		}
	}
}
