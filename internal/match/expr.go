package match

import "github.com/wardstream/wardstream/internal/event"

// An expr is a condition about an event.
type expr interface {
	holds(e *event.Event) bool
}

type (
	allOf []expr // all must hold; true if empty
	anyOf []expr // one must hold; false if empty
	not   struct{ expr }
)

func (a allOf) holds(e *event.Event) bool {
	for _, x := range a {
		if !x.holds(e) {
			return false
		}
	}
	return true
}

func (a anyOf) holds(e *event.Event) bool {
	for _, x := range a {
		if x.holds(e) {
			return true
		}
	}
	return false
}

func (n not) holds(e *event.Event) bool { return !n.expr.holds(e) }

// every and some leave out what a single operand does not need.
func every(list []expr) expr {
	if len(list) == 1 {
		return list[0]
	}
	return allOf(list)
}

func some(list []expr) expr {
	if len(list) == 1 {
		return list[0]
	}
	return anyOf(list)
}

// eventType is the attribute that every event has beside those of its publisher.
const eventType = "event_type"

// lookup returns an attribute. Null counts as absent.
func lookup(e *event.Event, name string) (event.Attr, bool) {
	if name == eventType {
		return event.TextAttr(name, e.Type), e.Type != ""
	}
	return e.Attr(name)
}

// A value decides about one scalar of an attribute by its text.
type value interface {
	matches(text string) bool
}

// A comparison says that an attribute has the value. Of a list, one member must.
type comparison struct {
	field string
	value value
}

func (c *comparison) holds(e *event.Event) bool {
	a, ok := lookup(e, c.field)
	return ok && anyScalar(&a, c.value)
}

// A keyword says that some attribute has the value.
type keyword struct{ value value }

func (k *keyword) holds(e *event.Event) bool {
	if k.value.matches(e.Type) {
		return true
	}
	for i := range e.Attrs {
		if anyScalar(&e.Attrs[i], k.value) || deep(e.Attrs[i].Value, k.value, 0) {
			return true
		}
	}
	return false
}

// anyScalar reports whether the attribute, or one member of a list, has the value.
func anyScalar(a *event.Attr, v value) bool {
	if text, ok := a.Scalar(); ok {
		return v.matches(text)
	}
	list, _ := a.Value.([]any)
	for _, member := range list {
		if text, ok := event.Text(member); ok && v.matches(text) {
			return true
		}
	}
	return false
}

// deep reports whether a value somewhere in nested objects and lists has the value.
func deep(in any, v value, depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch in := in.(type) {
	case map[string]any:
		for _, member := range in {
			if text, ok := event.Text(member); ok && v.matches(text) || deep(member, v, depth+1) {
				return true
			}
		}
	case []any:
		for _, member := range in {
			if text, ok := event.Text(member); ok && v.matches(text) || deep(member, v, depth+1) {
				return true
			}
		}
	}
	return false
}

// exists says that an attribute is there, whatever its value.
type exists struct{ field string }

func (x *exists) holds(e *event.Event) bool {
	_, ok := lookup(e, x.field)
	return ok
}

// null says that an attribute is absent, which null is too, or that a list has a null.
type null struct{ field string }

func (n *null) holds(e *event.Event) bool {
	a, ok := lookup(e, n.field)
	if !ok {
		return true
	}
	list, _ := a.Value.([]any)
	for _, member := range list {
		if member == nil {
			return true
		}
	}
	return false
}
