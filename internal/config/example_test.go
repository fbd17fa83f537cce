package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

const exampleFile = "../../detector.example.yaml"

// leftOpen is a key of the example that is left open: # and no blank.
var leftOpen = regexp.MustCompile(`(?m)^(\s*)#([a-z_]+: .*)$`)

// uncommented is the example with every key in use.
func uncommented(t *testing.T) string {
	t.Helper()
	text := readFile(t, exampleFile)
	if len(leftOpen.FindAllString(text, -1)) < 5 {
		t.Fatal("the example leaves hardly any key open")
	}
	return leftOpen.ReplaceAllString(text, "$1$2")
}

func TestExampleLoads(t *testing.T) {
	t.Parallel()
	c := load(t, readFile(t, exampleFile))
	if len(c.RuleSet.Rules()) != len(rules.Names())+1 || c.Stream.Consumer != "worker-1" {
		t.Errorf("%d rules, consumer %q", len(c.RuleSet.Rules()), c.Stream.Consumer)
	}
	if want := []string{"postgres.url is not set: permanent blocks are kept in Redis for 1h only (blocks.permanent_cache_ttl)"}; !slices.Equal(c.Warnings, want) {
		t.Errorf("warnings %q", c.Warnings)
	}
	if c.IsSet("http.addr") {
		t.Error("who copies the example can't start a second worker on the host: http.addr is chosen, not left open")
	}
	load(t, uncommented(t))
}

// TestExampleHasEveryKey: every key that is read stands in the example, with a
// comment above it or above its neighbours.
func TestExampleHasEveryKey(t *testing.T) {
	t.Parallel()
	d := newDecoder("detector.yaml", options())
	c := defaults("worker-1")
	d.Load(c, []byte(uncommented(t)))
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	index := regexp.MustCompile(`\[[0-9]+\]`)
	there := map[string]bool{}
	for key := range d.Given() {
		there[index.ReplaceAllString(key, "[]")] = true
		if rule, ok := strings.CutPrefix(key, "actions."); ok {
			_, key, _ = strings.Cut(rule, ".")
			there["actions."+key] = true
		}
	}
	want := expectedKeys(reflect.TypeFor[Config](), "")
	if len(want) < 65 {
		t.Fatalf("only %d keys expected", len(want))
	}
	for _, key := range want {
		if !there[key] {
			t.Errorf("the example lacks %s", key)
		}
	}
	given := map[string]bool{}
	for i, r := range c.Rules {
		given = map[string]bool{"mode": given["mode"], "where": given["where"], "unless": given["unless"]} // shown once
		for _, e := range c.Rules[i].entries {
			given[e.Name] = true
		}
		for _, f := range strictconfig.FieldsOf(paramsOf(t, r.Type).Type()) {
			if !given[f.Name] {
				t.Errorf("the example lacks %s of rule %s", f.Name, r.Name)
			}
		}
	}
}

// expectedKeys are the keys below a struct; elements of lists are [], actions are without the rule.
func expectedKeys(typ reflect.Type, path string) []string {
	var out []string
	for _, f := range strictconfig.FieldsOf(typ) {
		key := strings.TrimPrefix(path+"."+f.Name, ".")
		out = append(out, key)
		switch ft := typ.FieldByIndex(f.Index).Type; {
		case ft.Kind() == reflect.Struct:
			out = append(out, expectedKeys(ft, key)...)
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			out = append(out, expectedKeys(ft.Elem(), key+"[]")...)
		case ft == reflect.TypeFor[map[string]Action]():
			out = append(out, expectedKeys(ft.Elem(), key)...)
		}
	}
	return out
}

// TestExampleShowsDefaults: where the example says nothing else, its values are
// the defaults.
func TestExampleShowsDefaults(t *testing.T) {
	t.Parallel()
	c, want := load(t, readFile(t, exampleFile)), defaults("worker-1")
	got, def := flat(c), flat(want)
	differ := []string{"scopes", "rules", "actions", "block_rules", "allowlist", "trusted_proxies"}
	for _, key := range slices.Sorted(maps.Keys(def)) {
		if !slices.Contains(differ, key) && !reflect.DeepEqual(got[key], def[key]) {
			t.Errorf("%s is %v, the default is %v", key, got[key], def[key])
		}
	}
	for i := range c.Rules {
		compareRuleDefaults(t, &c.Rules[i])
	}
}

func compareRuleDefaults(t *testing.T, r *Rule) {
	t.Helper()
	if slices.Contains(rules.General(), r.Type) {
		return // a rule of one's own has parameters of its own
	}
	def := paramsOf(t, r.Type)
	given := reflect.ValueOf(r.params).Elem()
	for _, f := range strictconfig.FieldsOf(def.Type()) {
		name := r.Name + " " + f.Name
		if slices.Contains([]string{"repeated_route paths", "request_body_threshold paths", "sensitive_field_change fields"}, name) {
			continue
		}
		a, b := given.FieldByIndex(f.Index), def.FieldByIndex(f.Index)
		if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			t.Errorf("%s is %v, the default is %v", name, a, b)
		}
	}
}

func flat(c *Config) map[string]any {
	out := map[string]any{}
	var add func(s strictconfig.Setting)
	add = func(s strictconfig.Setting) {
		for _, f := range strictconfig.FieldsOf(s.V.Type()) {
			inner := s.Child(f.Name, s.V.FieldByIndex(f.Index), f.Tag)
			if inner.V.Kind() == reflect.Struct {
				add(inner)
				continue
			}
			out[inner.Key] = inner.V.Interface()
			if inner.V.Kind() != reflect.Bool && inner.V.IsZero() || inner.V.Kind() == reflect.Map && inner.V.Len() == 0 || inner.V.Kind() == reflect.Slice && inner.V.Len() == 0 {
				out[inner.Key] = nil
			}
		}
	}
	add(strictconfig.Setting{V: reflect.ValueOf(c).Elem()})
	return out
}
