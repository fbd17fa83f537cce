package match

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// Limits of what is compiled: a rule is written by people, and a file that exceeds them is a
// mistake or an attack.
const (
	maxDepth = 32
	maxNodes = 100_000 // values after aliases are followed
)

// A tree is a YAML value: a mapping, a list or a scalar.
type tree struct {
	line    int
	kind    kind
	text    string // of a scalar
	number  float64
	entries []entry // of a mapping, in order
	items   []tree  // of a list
}

type entry struct {
	key   string
	line  int
	value tree
}

type kind uint8

const (
	nullKind kind = iota
	textKind
	numberKind
	boolKind
	listKind
	mapKind
)

func (k kind) String() string {
	return [...]string{"null", "text", "a number", "a truth value", "a list", "a mapping"}[k]
}

// get returns the value of a key of a mapping.
func (t *tree) get(key string) (*tree, bool) {
	for i := range t.entries {
		if t.entries[i].key == key {
			return &t.entries[i].value, true
		}
	}
	return nil, false
}

// plain returns the value in Go's types.
func (t *tree) plain() any {
	switch t.kind {
	case mapKind:
		out := make(map[string]any, len(t.entries))
		for i := range t.entries {
			out[t.entries[i].key] = t.entries[i].value.plain()
		}
		return out
	case listKind:
		out := make([]any, len(t.items))
		for i := range t.items {
			out[i] = t.items[i].plain()
		}
		return out
	case numberKind:
		return t.number
	case boolKind:
		return t.text == "true"
	case nullKind:
		return nil
	}
	return t.text
}

// A treeReader makes trees of YAML nodes. It follows aliases to anchors before them.
type treeReader struct {
	anchors map[string]ast.Node
	left    int
}

func readTree(n ast.Node) (tree, error) {
	r := treeReader{anchors: map[string]ast.Node{}, left: maxNodes}
	return r.read(n, 0)
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func (r *treeReader) read(n ast.Node, depth int) (tree, error) {
	t := tree{line: lineOf(n)}
	if depth > maxDepth {
		return t, refuse(t.line, "values are nested more than %d deep", maxDepth)
	}
	if r.left--; r.left < 0 {
		return t, refuse(t.line, "there are more than %d values", maxNodes)
	}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return t, nil
	case *ast.StringNode:
		t.kind, t.text = textKind, n.Value
	case *ast.LiteralNode:
		t.kind, t.text = textKind, n.Value.Value
	case *ast.BoolNode:
		t.kind, t.text = boolKind, strconv.FormatBool(n.Value)
	case *ast.IntegerNode:
		return r.number(t, n.Value, n.GetToken().Value)
	case *ast.FloatNode:
		return r.number(t, n.Value, n.GetToken().Value)
	case *ast.SequenceNode:
		return r.list(t, n, depth)
	case ast.MapNode:
		return r.mapping(t, n, depth)
	case *ast.AnchorNode:
		r.anchors[n.Name.String()] = n.Value
		return r.read(n.Value, depth+1)
	case *ast.AliasNode:
		target, ok := r.anchors[n.Value.String()]
		if !ok {
			return t, refuse(t.line, "no anchor %q stands before this alias", n.Value.String())
		}
		return r.read(target, depth+1)
	default:
		return t, refuse(t.line, "a YAML %s cannot stand here", n.Type())
	}
	return t, nil
}

func (r *treeReader) number(t tree, value any, text string) (tree, error) {
	t.kind, t.text = numberKind, text
	switch v := value.(type) {
	case int64:
		t.number = float64(v)
	case uint64:
		t.number = float64(v)
	case float64:
		t.number = v
	default:
		return t, refuse(t.line, "%s is not a number that can be compared", text)
	}
	return t, nil
}

func (r *treeReader) list(t tree, n *ast.SequenceNode, depth int) (tree, error) {
	t.kind = listKind
	for _, v := range n.Values {
		item, err := r.read(v, depth+1)
		if err != nil {
			return t, err
		}
		t.items = append(t.items, item)
	}
	return t, nil
}

func (r *treeReader) mapping(t tree, n ast.MapNode, depth int) (tree, error) {
	t.kind = mapKind
	for all := n.MapRange(); all.Next(); {
		key, err := r.read(all.Key(), depth+1)
		if err != nil {
			return t, err
		}
		if key.kind == listKind || key.kind == mapKind {
			return t, refuse(key.line, "a key is %s, not text", key.kind)
		}
		if _, twice := t.get(key.text); twice {
			return t, refuse(key.line, "key %q is there twice", key.text)
		}
		value, err := r.read(all.Value(), depth+1)
		if err != nil {
			return t, err
		}
		t.entries = append(t.entries, entry{key: key.text, line: key.line, value: value})
	}
	return t, nil
}
