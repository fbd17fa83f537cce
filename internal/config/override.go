package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/wardstream/wardstream/internal/spelling"
)

// variablePrefix starts the names of the variables that set a key.
const variablePrefix = "WARDSTREAM_"

// variable is the name of the variable that sets key.
func variable(key string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// overridden reports whether a variable or a flag says more than the file.
func (d *decoder) overridden(key string) bool {
	_, flag := d.flags[key]
	return d.settable[key] && (flag || d.environ[variable(key)] != "")
}

// override applies the environment, then the flags. A variable that is empty
// counts as unset, as deployment templates leave them.
func (d *decoder) override(c *Config, flags []Flag) {
	settings := overridable(setting{v: reflect.ValueOf(c).Elem()})
	byKey := make(map[string]setting, len(settings))
	known := make([]string, 0, len(settings))
	for _, s := range settings {
		byKey[s.key] = s
		known = append(known, variable(s.key))
		if text := d.environ[variable(s.key)]; text != "" {
			d.overrideOne(s, text, variable(s.key))
		}
	}
	for _, f := range flags {
		if s, ok := byKey[f.Key]; ok {
			d.overrideOne(s, f.Value, f.Name)
			continue
		}
		d.errs = append(d.errs, Error{Source: f.Name, Key: f.Key, Reason: "is no key that a flag can set"})
	}
	c.Warnings = append(c.Warnings, d.misspelt(known)...)
}

// overridable returns the settings outside lists and maps, besides lists of
// text: what a variable or a flag can say.
func overridable(s setting) []setting {
	if isScalar(s.v) || isTextList(s.v) {
		return []setting{s}
	}
	if s.v.Kind() != reflect.Struct {
		return nil
	}
	var out []setting
	for _, f := range fieldsOf(s.v.Type()) {
		out = append(out, overridable(s.child(f.name, s.v.FieldByIndex(f.index), f.tag))...)
	}
	return out
}

func isTextList(v reflect.Value) bool { return v.Type() == reflect.TypeFor[[]string]() }

// overrideOne sets s to what source says. An element of a list stands at the list's place.
func (d *decoder) overrideOne(s setting, text, source string) {
	for key := range d.places {
		if strings.HasPrefix(key, s.key+"[") {
			delete(d.places, key)
		}
	}
	d.places[s.key] = place{source: source}
	if isTextList(s.v) {
		s.v.Set(reflect.ValueOf(splitList(text)))
		return
	}
	if err := set(s, scalar{text: text, shown: text, typed: true, node: ast.StringType}); err != nil {
		d.refuse(s.key, "%v", err)
	}
}

func splitList(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// misspelt warns of variables that look like ours and are not. Others that
// start the same way, such as those of a Kubernetes service of that name, are
// left alone.
func (d *decoder) misspelt(known []string) []string {
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(d.environ)) {
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(known, name) {
			continue
		}
		for _, near := range known {
			if spelling.Distance(name, near) <= 2 {
				warnings = append(warnings, "the variable "+oneLine(name)+" is not read; "+near+" is")
				break
			}
		}
	}
	return warnings
}
