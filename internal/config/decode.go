package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/wardstream/wardstream/internal/spelling"
)

// A decoder fills settings from the file, the environment and the flags. It
// goes on after an error, and remembers where each setting came from.
type decoder struct {
	file string
	// environ is the environment; hostname stands in for its HOSTNAME.
	environ  map[string]string
	hostname string
	// flags are the flags by key, settable the keys that flags and variables can set.
	flags    map[string]Flag
	settable map[string]bool
	// places says where the settings that were given stand, by key.
	places  map[string]place
	anchors map[string]ast.Node
	nodes   int // decoded so far
	errs    Errors
	refused map[string]bool // keys that errs are about
}

// A place is a line of the file, or a variable or a flag.
type place struct {
	source string
	line   int
}

// maxErrors bounds how many errors are reported.
const maxErrors = 20

// maxNodes bounds the work that aliases of aliases can make.
const maxNodes = 100_000

func newDecoder(file string, o Options) *decoder {
	d := &decoder{
		file: file, environ: map[string]string{}, hostname: o.Hostname,
		flags: map[string]Flag{}, settable: map[string]bool{}, places: map[string]place{}, anchors: map[string]ast.Node{},
		refused: map[string]bool{},
	}
	for _, entry := range o.Environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			d.environ[name] = value
		}
	}
	for _, f := range o.Flags {
		d.flags[f.Key] = f
	}
	for _, s := range overridable(setting{v: reflect.New(reflect.TypeFor[Config]()).Elem()}) {
		d.settable[s.key] = true
	}
	return d
}

func (d *decoder) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	errs := d.errs.sorted()
	if more := len(errs) - maxErrors; more > 0 {
		errs = append(errs[:maxErrors], Error{Source: errs[maxErrors].Source, Line: errs[maxErrors].Line, Reason: fmt.Sprintf("%d more errors from here on", more)})
	}
	return errs
}

// fail reports an error at a line of the file.
func (d *decoder) fail(line int, key, format string, args ...any) {
	d.errs = append(d.errs, Error{Source: d.file, Line: line, Key: key, Reason: fmt.Sprintf(format, args...)})
}

// refuse reports an error about a setting, where it stands or else where the
// nearest setting around it does. One mistake is reported once: what is wrong
// already, or part of what is, is left at that.
func (d *decoder) refuse(key, format string, args ...any) {
	for whole := key; whole != ""; whole = around(whole) {
		if d.refused[whole] {
			return
		}
	}
	d.refused[key] = true
	at := d.placeOf(key)
	d.errs = append(d.errs, Error{Source: at.source, Line: at.line, Key: key, Reason: fmt.Sprintf(format, args...)})
}

// around is the setting that key is part of: rules[0] of rules[0].name, "" at
// the top.
func around(key string) string { return key[:max(strings.LastIndexAny(key, ".["), 0)] }

func (d *decoder) placeOf(key string) place {
	for ; key != ""; key = around(key) {
		if at, ok := d.places[key]; ok {
			return at
		}
	}
	if d.file == "" {
		return place{source: "configuration"}
	}
	return place{source: d.file, line: 1}
}

// A setting is a place for a value: a field of a struct, an element of a list
// or of a map. The tags of the field hold for its elements, too.
type setting struct {
	key string
	v   reflect.Value
	tag reflect.StructTag
}

func (s setting) child(name string, v reflect.Value, tag reflect.StructTag) setting {
	if s.key != "" {
		name = s.key + "." + name
	}
	return setting{key: name, v: v, tag: tag}
}

func (s setting) element(i int, v reflect.Value) setting {
	return setting{key: fmt.Sprintf("%s[%d]", s.key, i), v: v, tag: s.tag}
}

// A nodeDecoder decodes itself.
type nodeDecoder interface {
	decodeNode(d *decoder, n ast.Node, s setting)
}

// decode fills s from n. Null leaves the default.
func (d *decoder) decode(n ast.Node, s setting) {
	n = d.resolve(n, s.key)
	if n == nil || n.Type() == ast.NullType {
		return
	}
	if own, ok := s.v.Addr().Interface().(nodeDecoder); ok {
		own.decodeNode(d, n, s)
		return
	}
	switch {
	case isScalar(s.v):
		d.decodeScalar(n, s)
	case s.v.Kind() == reflect.Pointer:
		s.v.Set(reflect.New(s.v.Type().Elem()))
		d.decode(n, setting{s.key, s.v.Elem(), s.tag})
	case s.v.Kind() == reflect.Struct:
		d.decodeStruct(n, s)
	case s.v.Kind() == reflect.Map:
		d.decodeMap(n, s)
	case s.v.Kind() == reflect.Slice:
		d.decodeList(n, s)
	default:
		d.refuse(s.key, "has no form in YAML")
	}
}

// resolve looks through anchors and aliases. It returns nil after an error.
func (d *decoder) resolve(n ast.Node, key string) ast.Node {
	for range maxNesting {
		if d.nodes++; d.nodes > maxNodes {
			if d.nodes == maxNodes+1 {
				d.refuse(key, "is more than can be read; the file says more than %d things", maxNodes)
			}
			return nil
		}
		switch node := n.(type) {
		case *ast.AnchorNode:
			d.anchors[node.Name.String()] = node.Value
			n = node.Value
		case *ast.AliasNode:
			target, ok := d.anchors[node.Value.String()]
			if !ok {
				d.fail(lineOf(n), key, "no anchor %s stands before this alias", quote(node.Value.String()))
				return nil
			}
			n = target
		case *ast.TagNode:
			d.fail(lineOf(n), key, "carries a YAML tag (%s); leave it out", node.Start.Value)
			return nil
		default:
			return n
		}
	}
	d.fail(lineOf(n), key, "aliases lead in a circle")
	return nil
}

func (d *decoder) decodeStruct(n ast.Node, s setting) {
	d.decodeEntries(d.entries(n, s), s)
}

// decodeEntries fills the struct s from the entries of a mapping.
func (d *decoder) decodeEntries(entries []entry, s setting) {
	fields := fieldsOf(s.v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	for _, e := range entries {
		known := false
		for _, f := range fields {
			if known = f.name == e.name; known {
				d.decode(e.value, s.child(f.name, s.v.FieldByIndex(f.index), f.tag))
				break
			}
		}
		if !known {
			d.refuse(e.key, "is no key known here%s", spelling.Suggestion(e.name, names))
		}
	}
}

func (d *decoder) decodeMap(n ast.Node, s setting) {
	entries := d.entries(n, s)
	made := reflect.MakeMapWithSize(s.v.Type(), len(entries))
	for _, e := range entries {
		v := reflect.New(s.v.Type().Elem()).Elem()
		if isNull(e.value) {
			d.refuse(e.key, "has no value")
		}
		d.decode(e.value, s.child(e.name, v, s.tag))
		made.SetMapIndex(reflect.ValueOf(e.name), v)
	}
	s.v.Set(made)
}

func (d *decoder) decodeList(n ast.Node, s setting) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.refuse(s.key, "is %s, not a list; write [a, b]", describe(n))
		return
	}
	made := reflect.MakeSlice(s.v.Type(), len(list.Values), len(list.Values))
	for i, value := range list.Values {
		element := s.element(i, made.Index(i))
		d.places[element.key] = place{d.file, lineOf(value)}
		if isNull(value) {
			d.refuse(element.key, "has no value")
		}
		d.decode(value, element)
	}
	s.v.Set(made)
}

func isNull(n ast.Node) bool {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		n = anchor.Value
	}
	return n == nil || n.Type() == ast.NullType
}

// An entry is one of a mapping's.
type entry struct {
	name, key string
	value     ast.Node
}

// entries returns the entries of a mapping, without those that repeat a key,
// and remembers where they stand.
func (d *decoder) entries(n ast.Node, s setting) []entry {
	mapping, ok := n.(ast.MapNode)
	if !ok {
		d.refuse(s.key, "is %s, not a mapping; write key: value", describe(n))
		return nil
	}
	var out []entry
	for it := mapping.MapRange(); it.Next(); {
		line := lineOf(it.Key())
		name, ok := it.Key().(*ast.StringNode)
		if !ok {
			d.fail(line, s.key, "has a key that is not plain text (%s)", it.Key().GetToken().Value)
			continue
		}
		e := entry{name: name.Value, key: s.child(name.Value, reflect.Value{}, "").key, value: it.Value()}
		if first, repeated := d.places[e.key]; repeated && first.source == d.file && containsEntry(out, e.name) {
			d.fail(line, e.key, "was given already in line %d; keep one", first.line)
			continue
		}
		d.places[e.key] = place{d.file, line}
		out = append(out, e)
	}
	return out
}

func containsEntry(entries []entry, name string) bool {
	for _, e := range entries {
		if e.name == name {
			return true
		}
	}
	return false
}

// A field is one of a struct's, or of a struct that is part of it inline.
type field struct {
	name  string
	index []int
	tag   reflect.StructTag
}

// fieldsOf returns the fields of t that have a key, in order.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
		case name != "" && name != "-":
			out = append(out, field{name, []int{i}, f.Tag})
		}
	}
	return out
}
