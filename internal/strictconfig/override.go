package strictconfig

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/wardstream/wardstream/internal/spelling"
)

// VariablePrefix starts the names of the variables that set a key.
const VariablePrefix = "WARDSTREAM_"

// Variable returns the name of the variable that sets a key: WARDSTREAM_REDIS_URL for redis.url.
func Variable(key string) string {
	return VariablePrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// fromEnvironment returns the variable that sets the key, and its value: "" if it is empty or none
// does.
func (d *Decoder) fromEnvironment(key string) (name, value string) {
	if d.o.Variable == nil {
		return "", ""
	}
	if name = d.o.Variable(key); name == "" {
		return "", ""
	}
	return name, d.environ[name]
}

// overridden reports whether a variable or a flag comes before the file.
func (d *Decoder) overridden(key string) bool {
	_, flag := d.flags[key]
	_, value := d.fromEnvironment(key)
	return d.settable[key] && (flag || value != "")
}

// override applies the environment, then the flags. A variable that is empty
// counts as unset, as deployment templates leave them.
func (d *Decoder) override(schema Setting) {
	byKey := map[string]Setting{}
	for _, s := range Overridable(schema) {
		byKey[s.Key] = s
		if name, text := d.fromEnvironment(s.Key); text != "" {
			d.overrideOne(s, text, name)
		}
	}
	for _, f := range d.o.Flags {
		if s, ok := byKey[f.Key]; ok {
			d.overrideOne(s, f.Value, f.Name)
			continue
		}
		d.errs = append(d.errs, Error{Source: f.Name, Key: f.Key, Reason: "is not a key that a flag can set"})
	}
}

// Overridable returns the settings outside lists and maps, besides lists of
// text and of numbers: what a variable or a flag can set.
func Overridable(s Setting) []Setting {
	if IsScalar(s.V) || isPlainList(s.V) {
		return []Setting{s}
	}
	if s.V.Kind() != reflect.Struct {
		return nil
	}
	var out []Setting
	for _, f := range FieldsOf(s.V.Type()) {
		out = append(out, Overridable(s.Child(f.Name, s.V.FieldByIndex(f.Index), f.Tag))...)
	}
	return out
}

// isPlainList reports whether v is a list of text or of whole numbers.
func isPlainList(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && (v.Type().Elem().Kind() == reflect.String || v.Type().Elem().Kind() == reflect.Int)
}

// overrideOne sets s to what source gives. An element of a list stands at the list's place.
func (d *Decoder) overrideOne(s Setting, value any, source string) {
	for key := range d.places {
		if strings.HasPrefix(key, s.Key+"[") {
			delete(d.places, key)
		}
	}
	d.places[s.Key] = place{source: source}
	text, _ := value.(string)
	if isPlainList(s.V) {
		items, split := value.([]string)
		if !split {
			items = splitList(s.V, text)
		}
		d.setList(s, items)
		return
	}
	if err := set(s, scalar{text: text, shown: text, typed: true, node: ast.StringType}); err != nil {
		d.Refuse(s.Key, "%v", err)
	}
}

func (d *Decoder) setList(s Setting, items []string) {
	if len(items) == 0 {
		s.V.SetZero()
		return
	}
	made := reflect.MakeSlice(s.V.Type(), len(items), len(items))
	for i, item := range items {
		element := s.element(i, made.Index(i))
		if err := set(element, scalar{text: item, shown: item, typed: true, node: ast.StringType}); err != nil {
			d.Refuse(element.Key, "%v", err)
		}
	}
	s.V.Set(made)
}

// A Splitter is a list of text that has rules of its own for splitting one text into elements.
type Splitter interface {
	// Split returns the elements. It does not depend on the receiver.
	Split(text string) []string
}

// splitList returns the elements of one text for the list v: by its commas, unless v has rules of
// its own.
func splitList(v reflect.Value, text string) []string {
	if own, ok := v.Interface().(Splitter); ok {
		return own.Split(text)
	}
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// Misspelt returns a warning for each variable that looks like one that sets a key and is not.
// Others that start the same way, such as those of a Kubernetes service of that name, are left
// alone.
func (d *Decoder) Misspelt() []string {
	var known, warnings []string
	for key := range d.settable {
		name, _ := d.fromEnvironment(key)
		known = append(known, name)
	}
	slices.Sort(known)
	for _, name := range slices.Sorted(maps.Keys(d.environ)) {
		if !strings.HasPrefix(name, VariablePrefix) || slices.Contains(known, name) {
			continue
		}
		for _, near := range known {
			if spelling.Distance(name, near) <= 2 {
				warnings = append(warnings, "the variable "+OneLine(name)+" is not read; "+near+" is")
				break
			}
		}
	}
	return warnings
}
