package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wardstream/wardstream/internal/match"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

const schemaFile = "../../schema/config.schema.json"

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// instance is the YAML text as the schema's validator wants it.
func instance(t *testing.T, text string) any {
	t.Helper()
	d := newDecoder("detector.yaml", options())
	root := d.ParseYAML([]byte(text))
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	return toJSON(t, root)
}

func toJSON(t *testing.T, n ast.Node) any {
	t.Helper()
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		out := []any{}
		for _, v := range n.Values {
			out = append(out, toJSON(t, v))
		}
		return out
	case ast.MapNode:
		out := map[string]any{}
		for it := n.MapRange(); it.Next(); {
			out[it.Key().GetToken().Value] = toJSON(t, it.Value())
		}
		return out
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		return json.Number(n.GetToken().Value)
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	t.Fatalf("no JSON for %T", n)
	return nil
}

func TestSchemaAccepts(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for name, text := range map[string]string{
		"example": readFile(t, exampleFile), "example, all keys": uncommented(t), "specification": specExample,
		"defaults, written out": load(t, "").Effective(), "every rule, written out": load(t, everyRule).Effective(),
		"references": "mode: ${M}\nipv6_prefix: ${N}\nevents: {stdout: \"${B}\"}\nstream: {block: \"${D}\", retention: 0}\nredis: {url: \"${U}\"}\nhttp: {addr: \"${A}\"}\n" +
			"rules: [{name: login_throttle, threshold: \"${T}\"}]\nactions: {login_throttle: \"${X}\"}\nblock_rules: {login_throttle: \"${D}\"}\n",
	} {
		if err := schema.Validate(instance(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	checked := 0
	for _, table := range []map[string]struct {
		text     string
		want     string
		noSchema bool
	}{refusals, ruleRefusals} {
		for name, tt := range table {
			if tt.noSchema {
				continue
			}
			checked++
			if schema.Validate(instance(t, tt.text)) == nil {
				t.Errorf("%s is accepted:\n%s", name, tt.text)
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d files checked", checked)
	}
}

// A schemaNode is the part of JSON Schema that the file uses.
type schemaNode struct {
	Description          string
	Type                 any
	Properties           map[string]*schemaNode
	AdditionalProperties json.RawMessage
	Items                *schemaNode
	AnyOf                []*schemaNode
	Ref                  string                 `json:"$ref"`
	Defs                 map[string]*schemaNode `json:"$defs"`
	Enum                 []string
	Const                string
	Default              any
	Minimum, Maximum     *json.Number
	XMinimum             string `json:"x-minimum"`
	XMaximum             string `json:"x-maximum"`
	Required             []string
}

func readSchema(t *testing.T) *schemaNode {
	t.Helper()
	var root schemaNode
	d := json.NewDecoder(strings.NewReader(readFile(t, schemaFile)))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	return &root
}

// enum is the values the schema lists, beside references.
func (n *schemaNode) enum() []string {
	for _, alternative := range n.AnyOf {
		if alternative.Enum != nil {
			return alternative.Enum
		}
	}
	return n.Enum
}

// object is what a list's items or a mapping's values are, if they are objects.
func (n *schemaNode) object(t *testing.T, root *schemaNode) *schemaNode {
	t.Helper()
	if n.Items != nil {
		return n.Items
	}
	var values schemaNode
	if err := json.Unmarshal(n.AdditionalProperties, &values); err != nil {
		t.Fatal(err)
	}
	for _, alternative := range values.AnyOf {
		if name, ok := strings.CutPrefix(alternative.Ref, "#/$defs/"); ok {
			return root.Defs[name]
		}
	}
	return &values
}

// paramsOf returns the parameter struct of a built-in rule, defaults filled in.
func paramsOf(t *testing.T, name string) reflect.Value {
	t.Helper()
	var params any
	_, _, _ = rules.Build([]rules.Spec{{Name: name, Decode: func(p any) error { params = p; return nil }}}, time.Minute)
	if params == nil {
		t.Fatalf("rule %s asks for no parameters", name)
	}
	return reflect.ValueOf(params).Elem()
}

// TestSchemaHasTheKeys: the schema and the structs have the same keys, of the
// same types, with the same ranges, values and defaults.
func TestSchemaHasTheKeys(t *testing.T) {
	t.Parallel()
	root := readSchema(t)
	checked := compareStruct(t, root, root, "", reflect.ValueOf(defaults("worker-1")).Elem())
	for _, name := range rules.Types() {
		def := root.Defs[name]
		if def == nil {
			t.Errorf("$defs lacks rule %s", name)
			continue
		}
		typ := def.Properties["type"]
		held := typ != nil && typ.Const == name && slices.Contains(def.Required, "name")
		if slices.Contains(rules.General(), name) {
			held = held && slices.Contains(def.Required, "type")
		} else {
			held = held && len(def.AnyOf) == 2 && def.AnyOf[0].Properties["name"].Const == name
		}
		if !held {
			t.Errorf("$defs/%s does not hold name or type to it", name)
		}
		delete(def.Properties, "name")
		delete(def.Properties, "type")
		delete(def.Properties, "action")
		checked += compareStruct(t, root, def, name, paramsOf(t, name))
	}
	if len(root.Defs) != len(rules.Types())+1 || len(root.Properties["rules"].Items.AnyOf) != len(rules.Types()) {
		t.Error("$defs or rules has more or fewer than the rules")
	}
	if checked < 110 {
		t.Errorf("only %d keys compared", checked)
	}
}

func compareStruct(t *testing.T, root, n *schemaNode, path string, v reflect.Value) (checked int) {
	t.Helper()
	if string(n.AdditionalProperties) != "false" {
		t.Errorf("%s allows unknown keys", path)
	}
	want := map[string]bool{}
	for _, f := range strictconfig.FieldsOf(v.Type()) {
		want[f.Name] = true
		s := strictconfig.Setting{Key: path}.Child(f.Name, v.FieldByIndex(f.Index), f.Tag)
		if p := n.Properties[f.Name]; p != nil {
			checked += compareKey(t, root, p, s)
		} else {
			t.Errorf("the schema lacks %s", s.Key)
		}
	}
	for name := range n.Properties {
		if !want[name] {
			t.Errorf("the schema has %s.%s, which nothing reads", path, name)
		}
	}
	return checked
}

func compareKey(t *testing.T, root, n *schemaNode, s strictconfig.Setting) int {
	t.Helper()
	if n.Description == "" {
		t.Errorf("%s has no description", s.Key)
	}
	typ := s.V.Type()
	if s.V.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	kind := fmt.Sprint(n.Type)
	switch elem := reflect.New(typ).Elem(); {
	case typ == reflect.TypeFor[match.Matcher]():
		expect(t, s.Key, "type", kind, "[object array]")
	case typ.Kind() == reflect.Struct:
		return compareStruct(t, root, n, s.Key, reflect.ValueOf(s.V.Interface()))
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct && typ != reflect.TypeFor[[]Rule](), typ.Kind() == reflect.Map && typ.Elem().Kind() == reflect.Struct:
		return 1 + compareStruct(t, root, n.object(t, root), s.Key+"[]", reflect.New(typ.Elem()).Elem())
	case typ.Kind() == reflect.Slice:
		expect(t, s.Key, "type", kind, "array")
	case typ.Kind() == reflect.Map:
		expect(t, s.Key, "type", kind, "object")
		if typ.Elem() == reflect.TypeFor[time.Duration]() {
			compareRange(t, n.object(t, root), strictconfig.Setting{Key: s.Key + "[]", V: reflect.New(typ.Elem()).Elem(), Tag: s.Tag})
		}
	case elem.Type() == reflect.TypeFor[time.Duration]():
		compareRange(t, n, strictconfig.Setting{Key: s.Key, V: elem, Tag: s.Tag})
	case typ.Kind() == reflect.Int:
		expect(t, s.Key, "type", kind, "[integer string]")
		compareRange(t, n, s)
	case typ.Kind() == reflect.Float64:
		expect(t, s.Key, "type", kind, "[number string]")
		compareRange(t, n, s)
	case typ.Kind() == reflect.Bool:
		expect(t, s.Key, "type", kind, "[boolean string]")
	case s.Tag.Get("oneof") != "":
		expect(t, s.Key, "enum", strings.Join(n.enum(), "|"), s.Tag.Get("oneof"))
	case len(n.enum()) > 0: // the rules' own
	case strictconfig.IsScalar(elem) && reflect.PointerTo(typ).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()):
		expect(t, s.Key, "type", kind, "[string number]")
	default:
		expect(t, s.Key, "type", kind, "string")
	}
	compareDefault(t, n, s)
	return 1
}

func expect(t *testing.T, key, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: the schema's %s is %s, want %s", key, what, got, want)
	}
}

// compareRange holds the schema to the range tag. Ranges of the rules that have
// none are tried out, see TestSchemaRulesRanges.
func compareRange(t *testing.T, n *schemaNode, s strictconfig.Setting) {
	t.Helper()
	tag := s.Tag.Get("range")
	if tag == "" {
		return
	}
	if s.V.Type() == reflect.TypeFor[time.Duration]() {
		low, _, _ := strings.Cut(strings.TrimPrefix(tag, "0,"), "..")
		got := n.XMinimum + ".." + n.XMaximum
		if strings.HasPrefix(tag, "0,") {
			got = "0," + got
		}
		expect(t, s.Key, "range", got, tag)
		zero := strings.HasPrefix(tag, "0,") || low == "0s"
		expect(t, s.Key, "zero", strconv.FormatBool(n.Maximum != nil && *n.Maximum == "0"), strconv.FormatBool(zero))
		return
	}
	if n.Minimum == nil || n.Maximum == nil {
		t.Errorf("%s has no minimum or maximum", s.Key)
		return
	}
	expect(t, s.Key, "range", n.Minimum.String()+".."+n.Maximum.String(), tag)
}

// compareDefault compares the defaults; of keys inside lists and mappings there
// are none but zero.
func compareDefault(t *testing.T, n *schemaNode, s strictconfig.Setting) {
	t.Helper()
	if s.Key == "stream.consumer" || n.Default == nil && s.V.IsZero() {
		return
	}
	want, err := json.Marshal(plainJSON(s.V))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(n.Default)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the schema's default is %s, want %s", s.Key, got, want)
	}
}

func plainJSON(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case time.Duration:
		return strictconfig.FormatDuration(value)
	case URL:
		return string(value)
	}
	switch {
	case v.Kind() == reflect.Map && v.Len() == 0:
		return map[string]any{}
	case v.Kind() == reflect.Slice && v.Len() == 0:
		return []any{}
	}
	return v.Interface()
}

// TestSchemaRanges tries the ends of every range of the schema out.
func TestSchemaRanges(t *testing.T) {
	t.Parallel()
	root := readSchema(t)
	tried := 0
	for path, n := range leaves(root, "") {
		if n.Minimum != nil && *n.Maximum != "0" {
			tryRange(t, path, step(t, *n.Minimum, -1), n.Minimum.String(), n.Maximum.String(), step(t, *n.Maximum, 1))
			tried++
		}
		if n.XMinimum != "" {
			tryRange(t, path, before(t, n.XMinimum), n.XMinimum, n.XMaximum, n.XMaximum+"1ms")
			tried++
		}
	}
	if tried < 50 {
		t.Errorf("only %d ranges tried", tried)
	}
}

func step(t *testing.T, n json.Number, by int64) string {
	t.Helper()
	i, err := n.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatInt(i+by, 10)
}

func before(t *testing.T, text string) string {
	t.Helper()
	d, err := strictconfig.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return (d - time.Nanosecond).String()
}

// leaves returns the settings of a schema by path, those of rules as the rule's.
func leaves(n *schemaNode, path string) map[string]*schemaNode {
	out := map[string]*schemaNode{}
	for name, p := range n.Properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		if p.Properties == nil {
			out[at] = p
		}
		maps.Copy(out, leaves(p, at))
	}
	for name, p := range n.Defs {
		maps.Copy(out, leaves(p, "$"+name))
	}
	return out
}

func tryRange(t *testing.T, path, below, low, high, above string) {
	t.Helper()
	for value, fits := range map[string]bool{below: false, low: true, high: true, above: false} {
		text := fileWith(path, value)
		_, err := parse("detector.yaml", []byte(text), options())
		if (err == nil) != fits {
			t.Errorf("%s of %s: %v\n%s", path, value, err, text)
		}
	}
}

// fileWith is a file that sets the one setting.
func fileWith(path, value string) string {
	rule, param, ofRule := strings.Cut(strings.TrimPrefix(path, "$"), ".")
	switch {
	case !strings.HasPrefix(path, "$") && !ofRule:
		return path + ": " + value + "\n"
	case !strings.HasPrefix(path, "$"):
		return rule + ": {" + param + ": " + value + "}\n"
	case rule == "action":
		return "rules: [{name: login_throttle}]\nactions: {login_throttle: {action: block, " + param + ": " + value + "}}\n"
	case rule == "sensitive_field_change":
		param = "fields: [a], " + param
	case slices.Contains(rules.General(), rule):
		needed := map[string]string{"where": "{a: b}", "group_by": "[a]", "threshold": "2", "window": "1m"}
		if rule == "distinct" {
			needed["distinct"] = "c"
		}
		needed[param] = value
		text := "rules: [{name: mine, type: " + rule
		for key, value := range needed {
			text += ", " + key + ": " + value
		}
		return text + "}]\n"
	}
	return "rules: [{name: " + rule + ", " + param + ": " + value + "}]\n"
}

// TestStructTagsAreValid: every range and oneof tag can be read.
func TestStructTagsAreValid(t *testing.T) {
	t.Parallel()
	sound := regexp.MustCompile(`^(0,)?(-?[0-9a-z]+)\.\.([0-9a-z]+)$`)
	checked := 0
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		for _, f := range strictconfig.FieldsOf(typ) {
			ft := typ.FieldByIndex(f.Index).Type
			for ft.Kind() == reflect.Slice || ft.Kind() == reflect.Map || ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if tag := f.Tag.Get("range"); tag != "" {
				m := sound.FindStringSubmatch(tag)
				v := reflect.New(ft).Elem()
				if m == nil || strictconfig.Bound(v, m[2]) >= strictconfig.Bound(v, m[3]) {
					t.Errorf("%s.%s: range %q", typ, f.Name, tag)
				}
				checked++
			}
			if ft.Kind() == reflect.Struct {
				check(ft)
			}
		}
	}
	check(reflect.TypeFor[Config]())
	for _, name := range rules.Types() {
		check(paramsOf(t, name).Type())
	}
	if checked < 30 {
		t.Errorf("only %d tags checked", checked)
	}
}
