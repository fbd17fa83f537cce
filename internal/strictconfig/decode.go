package strictconfig

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/wardstream/wardstream/internal/spelling"
)

// A Setting is a place for a value: a field of a struct, an element of a list
// or of a map. The tags of the field hold for its elements, too.
type Setting struct {
	Key string // such as "rules[0].threshold"
	V   reflect.Value
	Tag reflect.StructTag
}

// Child returns the setting below s of that name.
func (s Setting) Child(name string, v reflect.Value, tag reflect.StructTag) Setting {
	if s.Key != "" {
		name = s.Key + "." + name
	}
	return Setting{Key: name, V: v, Tag: tag}
}

func (s Setting) element(i int, v reflect.Value) Setting {
	return Setting{Key: fmt.Sprintf("%s[%d]", s.Key, i), V: v, Tag: s.Tag}
}

// A NodeDecoder decodes itself, as does a [yaml.NodeUnmarshaler], whose error is about the setting.
type NodeDecoder interface {
	// DecodeYAML fills s, which is the receiver, from n.
	DecodeYAML(d *Decoder, n ast.Node, s Setting)
}

// Decode fills s from n. Null leaves the default.
func (d *Decoder) Decode(n ast.Node, s Setting) {
	n = d.resolve(n, s.Key)
	if n == nil || n.Type() == ast.NullType {
		return
	}
	switch own := s.V.Addr().Interface().(type) {
	case NodeDecoder:
		own.DecodeYAML(d, n, s)
		return
	case yaml.NodeUnmarshaler:
		d.refuseAt(s.Key, own.UnmarshalYAML(n))
		return
	}
	switch {
	case IsScalar(s.V):
		d.DecodeScalar(n, s)
	case s.V.Kind() == reflect.Pointer:
		s.V.Set(reflect.New(s.V.Type().Elem()))
		d.Decode(n, Setting{s.Key, s.V.Elem(), s.Tag})
	case s.V.Kind() == reflect.Struct:
		d.DecodeStruct(n, s)
	case s.V.Kind() == reflect.Map:
		d.decodeMap(n, s)
	case s.V.Kind() == reflect.Slice:
		d.decodeList(n, s)
	default:
		d.Refuse(s.Key, "has no form in YAML")
	}
}

// refuseAt refuses a value for an error, which may say in which line it is itself.
func (d *Decoder) refuseAt(key string, err error) {
	var placed interface {
		At() (line int, reason string)
	}
	switch {
	case errors.As(err, &placed):
		line, reason := placed.At()
		d.fail(line, key, "%s", reason)
	case err != nil:
		d.Refuse(key, "%v", err)
	}
}

// resolve looks through anchors and aliases. It returns nil after an error.
func (d *Decoder) resolve(n ast.Node, key string) ast.Node {
	for range maxNesting {
		if d.nodes++; d.nodes > maxNodes {
			if d.nodes == maxNodes+1 {
				d.Refuse(key, "is more than can be read; the file says more than %d things", maxNodes)
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
				d.fail(lineOf(n), key, "no anchor %s stands before this alias", Quote(node.Value.String()))
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

// DecodeStruct fills the struct s from a mapping.
func (d *Decoder) DecodeStruct(n ast.Node, s Setting) {
	d.DecodeEntries(d.Entries(n, s), s)
}

// DecodeEntries fills the struct s from the entries of a mapping.
func (d *Decoder) DecodeEntries(entries []Entry, s Setting) {
	fields := FieldsOf(s.V.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	for _, e := range entries {
		known := false
		for _, f := range fields {
			if known = f.Name == e.Name; known {
				d.Decode(e.Value, s.Child(f.Name, s.V.FieldByIndex(f.Index), f.Tag))
				break
			}
		}
		if !known {
			d.Refuse(e.Key, "is not a known key%s", spelling.Suggestion(e.Name, names))
		}
	}
}

func (d *Decoder) decodeMap(n ast.Node, s Setting) {
	entries := d.Entries(n, s)
	made := reflect.MakeMapWithSize(s.V.Type(), len(entries))
	for _, e := range entries {
		v := reflect.New(s.V.Type().Elem()).Elem()
		if isNull(e.Value) {
			d.Refuse(e.Key, "has no value")
		}
		d.Decode(e.Value, s.Child(e.Name, v, s.Tag))
		made.SetMapIndex(reflect.ValueOf(e.Name), v)
	}
	s.V.Set(made)
}

func (d *Decoder) decodeList(n ast.Node, s Setting) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.decodeListText(n, s)
		return
	}
	made := reflect.MakeSlice(s.V.Type(), len(list.Values), len(list.Values))
	for i, value := range list.Values {
		element := s.element(i, made.Index(i))
		d.places[element.Key] = place{d.o.File, lineOf(value)}
		if isNull(value) {
			d.Refuse(element.Key, "has no value")
		}
		d.Decode(value, element)
	}
	s.V.Set(made)
}

// decodeListText fills the list s from one text with commas, where that is allowed.
func (d *Decoder) decodeListText(n ast.Node, s Setting) {
	in, ok := scalarOf(n)
	if !ok || !d.o.FlagNotation || !isPlainList(s.V) {
		d.Refuse(s.Key, "is %s, not a list; write [a, b]", Describe(n))
		return
	}
	if s.V.Type().Elem().Kind() == reflect.String && in.node != ast.StringType {
		d.Refuse(s.Key, "%s is not text; put it in quotes", in.shown)
		return
	}
	if in, ok = d.expand(in, s); ok {
		d.setList(s, splitList(s.V, in.text))
	}
}

func isNull(n ast.Node) bool {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		n = anchor.Value
	}
	return n == nil || n.Type() == ast.NullType
}

// An Entry is one of a mapping's.
type Entry struct {
	Name, Key string
	Value     ast.Node
}

// Entries returns the entries of a mapping, without those that repeat a key,
// and remembers where they stand.
func (d *Decoder) Entries(n ast.Node, s Setting) []Entry {
	mapping, ok := n.(ast.MapNode)
	if !ok {
		d.Refuse(s.Key, "is %s, not a mapping; write key: value", Describe(n))
		return nil
	}
	var out []Entry
	for it := mapping.MapRange(); it.Next(); {
		line := lineOf(it.Key())
		name, ok := it.Key().(*ast.StringNode)
		if !ok {
			d.fail(line, s.Key, "has a key that is not plain text (%s)", it.Key().GetToken().Value)
			continue
		}
		key := name.Value
		if d.o.FlagNotation {
			key = strings.ReplaceAll(key, "-", "_")
		}
		e := Entry{Name: key, Key: s.Child(key, reflect.Value{}, "").Key, Value: it.Value()}
		if first, repeated := d.places[e.Key]; repeated && first.source == d.o.File && containsEntry(out, e.Name) {
			d.fail(line, e.Key, "was given already in line %d; keep one", first.line)
			continue
		}
		d.places[e.Key] = place{d.o.File, line}
		out = append(out, e)
	}
	return out
}

func containsEntry(entries []Entry, name string) bool {
	for _, e := range entries {
		if e.Name == name {
			return true
		}
	}
	return false
}

// A Field is one of a struct's, or of a struct that is part of it inline.
type Field struct {
	Name  string
	Index []int
	Tag   reflect.StructTag
}

// FieldsOf returns the fields of t that have a key, in order.
func FieldsOf(t reflect.Type) []Field {
	var out []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			for _, inner := range FieldsOf(f.Type) {
				inner.Index = append([]int{i}, inner.Index...)
				out = append(out, inner)
			}
		case name != "" && name != "-":
			out = append(out, Field{name, []int{i}, f.Tag})
		}
	}
	return out
}
