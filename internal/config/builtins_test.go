package config

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// TestBuiltins: all are there, with the defaults that a name alone gives them.
func TestBuiltins(t *testing.T) {
	t.Parallel()
	builtins := Builtins()
	var names []string
	for _, b := range builtins {
		names = append(names, b.Name)
		if !b.EventFilter.Any && len(b.EventFilter.Types)+len(b.EventFilter.Prefixes) == 0 {
			t.Errorf("%s wants no events", b.Name)
		}
		c, err := parse("", []byte("rules: [{name: "+b.Name+", "+needed(b.Name)+"}]"), options())
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.Rules[0].Params() {
			if got := b.Params()[i]; want.Key != "fields" && !equal(got, want) {
				t.Errorf("%s: %+v, want %+v", b.Name, got, want)
			}
		}
	}
	if !slices.Equal(names, rules.Names()) {
		t.Errorf("built in are %v", names)
	}
}

// needed is what a rule can't do without.
func needed(rule string) string {
	if rule == "sensitive_field_change" {
		return "fields: [email]"
	}
	return ""
}

func equal(a, b Param) bool {
	x, y := reflect.ValueOf(a.Value), reflect.ValueOf(b.Value)
	if x.Kind() == reflect.Slice && y.Kind() == reflect.Slice && x.Len()+y.Len() == 0 {
		return a.Key == b.Key
	}
	return reflect.DeepEqual(a, b)
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"10m": "10m", "90s": "1m30s", "7d": "168h", "1d12h": "36h", "500ms": "500ms", "0": "0s"} {
		d, err := strictconfig.ParseDuration(in)
		if err != nil || strictconfig.FormatDuration(d) != want {
			t.Errorf("%s is %s, %v; want %s", in, strictconfig.FormatDuration(d), err, want)
		}
		if back, err := strictconfig.ParseDuration(strictconfig.FormatDuration(d)); err != nil || back != d {
			t.Errorf("%s comes back as %s, %v", d, back, err)
		}
	}
	if _, err := strictconfig.ParseDuration("1d-1h"); err == nil {
		t.Error("1d-1h is a duration")
	}
	if d, err := strictconfig.ParseDuration("65535d"); err != nil || d != 65535*24*time.Hour {
		t.Errorf("65535d is %s, %v", d, err)
	}
}
