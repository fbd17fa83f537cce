// Package match compiles the detection language of Sigma (specification 2.1) to matchers of events:
// selections of attributes, modifiers, keywords and conditions. A matcher does no I/O, reads no
// clock and keeps no state.
//
// Text is compared without regard to case unless the modifier cased says otherwise. Regular
// expressions are those of RE2, which take time linear in the text.
package match

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/wardstream/wardstream/internal/event"
)

// A Matcher decides which events match. It is immutable and safe for concurrent use. The zero value
// matches nothing.
type Matcher struct {
	root   expr
	source tree
}

// Match reports whether e matches.
func (m *Matcher) Match(e *event.Event) bool { return m.root != nil && m.root.holds(e) }

// Source returns what the matcher was compiled from: mappings as map[string]any, lists as []any,
// and scalars.
func (m *Matcher) Source() any { return m.source.plain() }

// UnmarshalYAML makes m the matcher of a selection.
func (m *Matcher) UnmarshalYAML(n ast.Node) error {
	made, err := Selection(n)
	if err == nil {
		*m = *made
	}
	return err
}

// Selection compiles one selection, as it stands below an identifier of a Sigma rule: a mapping of
// attributes to values, all of which must hold, or a list of such mappings or of keywords, one of
// which must hold. An error is an *[Error].
func Selection(n ast.Node) (*Matcher, error) {
	t, err := readTree(n)
	if err != nil {
		return nil, err
	}
	root, err := compileSelection(t)
	if err != nil {
		return nil, err
	}
	return &Matcher{root, t}, nil
}

// Detection compiles the detection section of a Sigma rule: selections by identifier, and a
// condition about them, or a list of conditions one of which must hold. An error is an *[Error].
func Detection(n ast.Node) (*Matcher, error) {
	t, err := readTree(n)
	if err != nil {
		return nil, err
	}
	root, err := compileDetection(t)
	if err != nil {
		return nil, err
	}
	return &Matcher{root, t}, nil
}

// EventTypes returns the types of the events that a selection can match: those that its attribute
// event_type lists, as they are written. It returns nil if they cannot be told, as with wildcards.
func (m *Matcher) EventTypes() []string { return m.source.eventTypes() }

func (t *tree) eventTypes() []string {
	var types []string
	for i := range t.items { // alternatives
		of := t.items[i].eventTypes()
		if of == nil {
			return nil
		}
		types = append(types, of...)
	}
	listed, ok := t.get(eventType)
	if !ok {
		return types
	}
	list := listed.items
	if listed.kind != listKind {
		list = []tree{*listed}
	}
	for _, item := range list {
		text, plain := parsePattern(item.text).literal()
		if item.kind != textKind || !plain || text == "" {
			return nil
		}
		types = append(types, text)
	}
	return types
}
