package cases

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// fields are names and values in turn, bytes of any kind. They are written as a mapping, or as a
// list where order or a repeated name matters.
type fields []string

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (f *fields) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case ast.MapNode:
		for it := n.MapRange(); it.Next(); {
			if err := f.add(it.Key()); err != nil {
				return err
			}
			if err := f.add(it.Value()); err != nil {
				return err
			}
		}
		return nil
	case *ast.SequenceNode:
		for _, item := range n.Values {
			if err := f.add(item); err != nil {
				return err
			}
		}
		if len(*f)%2 != 0 {
			return fmt.Errorf("line %d: a name without a value", n.GetToken().Position.Line)
		}
		return nil
	}
	return fmt.Errorf("line %d: fields are a mapping or a list", n.GetToken().Position.Line)
}

func (f *fields) add(n ast.Node) error {
	text, err := valueOf(n)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.GetToken().Position.Line, err)
	}
	*f = append(*f, text)
	return nil
}

// special is a value that plain YAML can't write.
type special struct {
	// Escaped is text with Go's escapes, such as ev\xffe.
	Escaped *string `yaml:"escaped"`
	Base64  *string `yaml:"base64"`
	// Repeat is written Times times between Before and After.
	Repeat string `yaml:"repeat"`
	Times  int    `yaml:"times"`
	Before string `yaml:"before"`
	After  string `yaml:"after"`
}

var errSpecial = errors.New("a value is text, or one of {escaped: …}, {base64: …}, {repeat: …, times: …}")

// valueOf is the text of a scalar as it stands in the file, or what a special value stands for.
func valueOf(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.NullNode:
		return "", errors.New(`null is not text: write "" or "null"`)
	case ast.ScalarNode:
		return n.GetToken().Value, nil
	case *ast.MappingNode, *ast.MappingValueNode:
		var s special
		if err := yaml.NodeToValue(n, &s, yaml.Strict()); err != nil {
			return "", err
		}
		return s.text()
	}
	return "", errSpecial
}

func (s *special) text() (string, error) {
	switch {
	case s.Escaped != nil:
		return strconv.Unquote(`"` + strings.ReplaceAll(*s.Escaped, `"`, `\"`) + `"`)
	case s.Base64 != nil:
		raw, err := base64.StdEncoding.DecodeString(*s.Base64)
		return string(raw), err
	case s.Repeat != "" && s.Times > 0:
		text := make([]byte, 0, len(s.Before)+s.Times*len(s.Repeat)+len(s.After))
		text = append(text, s.Before...)
		for n := range s.Times {
			text = append(text, numbered(s.Repeat, n)...)
		}
		return string(append(text, s.After...)), nil
	}
	return "", errSpecial
}

// numbered puts n for {n}.
func numbered(text string, n int) string { return strings.ReplaceAll(text, "{n}", strconv.Itoa(n)) }

// numbered returns the fields of repetition n: in each {n} is its number.
func (f fields) numbered(n int) []string {
	out := make([]string, len(f))
	for i := range f {
		out[i] = numbered(f[i], n)
	}
	return out
}
