package strictconfig

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// A scalar is the text of one value, and what may be said of it in an error.
type scalar struct {
	text string
	// shown is the text as it stands in the file, where the environment's part of
	// it may be secret.
	shown string
	// typed says that text stands for a value of any type: it is not text in
	// quotes in the file.
	typed bool
	node  ast.NodeType
}

var errSecretType = errors.New("is not text; put it in quotes")

func isDuration(v reflect.Value) bool { return v.Type() == reflect.TypeFor[time.Duration]() }

// IsScalar reports whether v is filled from one scalar.
func IsScalar(v reflect.Value) bool {
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return true
	}
	switch v.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Float64:
		return true
	default:
		return isDuration(v)
	}
}

// DecodeScalar fills s from a scalar of the file.
func (d *Decoder) DecodeScalar(n ast.Node, s Setting) {
	in, ok := scalarOf(n)
	if !ok {
		d.Refuse(s.Key, "is %s, not %s", Describe(n), wanted(s.V))
		return
	}
	if _, block := n.(*ast.LiteralNode); block && d.o.FlagNotation {
		in.text = strings.TrimSpace(in.text)
	}
	in, ok = d.expand(in, s)
	if !ok {
		return
	}
	if err := set(s, in); err != nil {
		d.Refuse(s.Key, "%v", err)
	}
}

// expand replaces references to the environment. It returns false after an error, and where
// something comes before the file, so that a variable that only the file needs may be missing.
func (d *Decoder) expand(in scalar, s Setting) (scalar, bool) {
	if in.node != ast.StringType || !strings.Contains(in.text, "$") {
		return in, true
	}
	if d.overridden(s.Key) {
		return in, false
	}
	text, read, err := interpolate(in.text, d.lookup)
	if err != nil {
		d.Refuse(s.Key, "%v", err)
		return in, false
	}
	in.text, in.typed = text, in.typed || read
	return in, true
}

// IsScalarNode reports whether n is one value: text, a number or a truth value.
func IsScalarNode(n ast.Node) bool {
	_, ok := scalarOf(n)
	return ok
}

// scalarOf returns a scalar as it stands in the file.
func scalarOf(n ast.Node) (scalar, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return scalar{text: n.Value, shown: n.Value, node: ast.StringType}, true
	case *ast.LiteralNode:
		return scalar{text: n.Value.Value, shown: n.Value.Value, node: ast.StringType}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text := n.GetToken().Value
		return scalar{text: text, shown: text, typed: true, node: n.Type()}, true
	}
	return scalar{}, false
}

// set fills s from a scalar.
func set(s Setting, in scalar) error {
	if err := setValue(s.V, in); err != nil {
		return err
	}
	if err := checkOneOf(s, in); err != nil {
		return err
	}
	return checkRange(s, in)
}

func setValue(v reflect.Value, in scalar) error {
	if own, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return own.UnmarshalText([]byte(in.text))
	}
	switch {
	case isDuration(v):
		return setDuration(v, in)
	case v.Kind() == reflect.Int:
		return setInt(v, in)
	case v.Kind() == reflect.Float64:
		return setFloat(v, in)
	case v.Kind() == reflect.Bool:
		return setBool(v, in)
	default:
		return setString(v, in)
	}
}

func wrongType(v reflect.Value, in scalar) error {
	if in.node == ast.StringType {
		return fmt.Errorf("%s is not %s", Quote(in.shown), wanted(v))
	}
	return fmt.Errorf("%s is not %s", in.shown, wanted(v))
}

// wanted names what v is filled from.
func wanted(v reflect.Value) string {
	switch {
	case isDuration(v):
		return "a duration such as 30s, 5m or 1h30m"
	case v.Kind() == reflect.Int:
		return "a whole number (without quotes)"
	case v.Kind() == reflect.Float64:
		return "a number (without quotes)"
	case v.Kind() == reflect.Bool:
		return "true or false (without quotes)"
	case v.Kind() == reflect.String:
		return "text"
	}
	return "a number"
}

func setString(v reflect.Value, in scalar) error {
	if _, secret := v.Interface().(interface{ Redacted() string }); secret && in.node != ast.StringType {
		return errSecretType
	}
	if in.node != ast.StringType {
		return fmt.Errorf("%s is not text; put it in quotes", in.shown)
	}
	v.SetString(in.text)
	return nil
}

func setInt(v reflect.Value, in scalar) error {
	if !in.typed || strings.HasPrefix(in.text, "+") || in.text != "0" && strings.HasPrefix(strings.TrimPrefix(in.text, "-"), "0") {
		return wrongType(v, in)
	}
	n, err := strconv.Atoi(in.text)
	if err != nil {
		return wrongType(v, in)
	}
	v.SetInt(int64(n))
	return nil
}

func setFloat(v reflect.Value, in scalar) error {
	f, err := strconv.ParseFloat(in.text, 64)
	if !in.typed || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return wrongType(v, in)
	}
	v.SetFloat(f)
	return nil
}

func setBool(v reflect.Value, in scalar) error {
	b, err := strconv.ParseBool(strings.ToLower(in.text))
	if !in.typed || err != nil || len(in.text) == 1 {
		return wrongType(v, in)
	}
	v.SetBool(b)
	return nil
}

func setDuration(v reflect.Value, in scalar) error {
	if in.node != ast.StringType && in.text != "0" {
		return fmt.Errorf("%s has no unit; write it as %ss, %sm or %sh", in.shown, in.shown, in.shown, in.shown)
	}
	d, err := ParseDuration(in.text)
	if err != nil {
		return wrongType(v, in)
	}
	v.SetInt(int64(d))
	return nil
}

// ParseDuration reads a duration as Go writes them; whole days may come first,
// as in "7d" or "1d12h".
func ParseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, err
	}
	total := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.HasPrefix(rest, "+") {
		return 0, strconv.ErrSyntax
	}
	return total + min(d, math.MaxInt64-total), nil
}

// FormatDuration writes a duration without the zero parts.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Describe names what a node is, for an error. It doesn't repeat a value, which
// may be a URL with its password one level too high.
func Describe(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a mapping"
	case *ast.NullNode:
		return "empty"
	}
	return "a plain value"
}
