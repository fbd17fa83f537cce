package match

import (
	"regexp"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/spelling"
)

// Keys of a detection section that are not selections.
const (
	conditionKey = "condition"
	timeframeKey = "timeframe" // of the first version; it has no meaning without an aggregation
)

// compileDetection compiles a detection section.
func compileDetection(t tree) (expr, error) {
	if t.kind != mapKind {
		return nil, refuse(t.line, "detection is %s, not a mapping of selections and a condition", t.kind)
	}
	c := conditions{selections: map[string]expr{}}
	for _, e := range t.entries {
		if e.key == conditionKey || e.key == timeframeKey {
			continue
		}
		x, err := compileSelection(e.at())
		if err != nil {
			return nil, err
		}
		c.names, c.selections[e.key] = append(c.names, e.key), x
	}
	condition, ok := t.get(conditionKey)
	switch {
	case !ok:
		return nil, refuse(t.line, "detection has no condition")
	case len(c.names) == 0:
		return nil, refuse(t.line, "detection has no selection")
	case condition.kind != listKind:
		return c.compile(*condition)
	}
	var one []expr
	for _, item := range condition.items {
		x, err := c.compile(item)
		if err != nil {
			return nil, err
		}
		one = append(one, x)
	}
	if len(one) == 0 {
		return nil, refuse(condition.line, "the list of conditions is empty")
	}
	return some(one), nil
}

// conditions compiles conditions about selections. Precedence is not, and, or.
type conditions struct {
	names      []string // of the selections, in order
	selections map[string]expr

	line  int
	left  []string // words yet to be read
	depth int
}

// words are what a condition consists of.
var words = regexp.MustCompile(`[A-Za-z0-9_*?.-]+|\S`)

func (c *conditions) compile(t tree) (expr, error) {
	if t.kind != textKind && t.kind != numberKind {
		return nil, refuse(t.line, "a condition is text, not %s", t.kind)
	}
	if strings.Contains(t.text, "|") {
		return nil, refuse(t.line, "aggregations after | are not part of Sigma 2; write a correlation")
	}
	c.line, c.left = t.line, words.FindAllString(t.text, -1)
	x, err := c.or()
	if err != nil {
		return nil, err
	}
	if len(c.left) > 0 {
		return nil, refuse(c.line, "condition %q: %q is one too many", t.text, c.left[0])
	}
	return x, nil
}

// next returns the next word, "" at the end.
func (c *conditions) next() string {
	if len(c.left) == 0 {
		return ""
	}
	return c.left[0]
}

// take takes the next word if it is the keyword, in any case.
func (c *conditions) take(keyword string) bool {
	if !strings.EqualFold(c.next(), keyword) {
		return false
	}
	c.left = c.left[1:]
	return true
}

func (c *conditions) or() (expr, error) { return c.list("or", c.and, some) }

func (c *conditions) and() (expr, error) { return c.list("and", c.operand, every) }

// list reads operands with a keyword between them.
func (c *conditions) list(keyword string, operand func() (expr, error), join func([]expr) expr) (expr, error) {
	var list []expr
	for {
		x, err := operand()
		if err != nil {
			return nil, err
		}
		if list = append(list, x); !c.take(keyword) {
			return join(list), nil
		}
	}
}

func (c *conditions) operand() (expr, error) {
	if c.depth++; c.depth > maxDepth {
		return nil, refuse(c.line, "the condition is nested more than %d deep", maxDepth)
	}
	defer func() { c.depth-- }()
	switch {
	case c.take("not"):
		x, err := c.operand()
		return not{x}, err
	case c.take("("):
		x, err := c.or()
		if err == nil && !c.take(")") {
			err = refuse(c.line, "a parenthesis of the condition is not closed")
		}
		return x, err
	case len(c.left) > 1 && strings.EqualFold(c.left[1], "of"):
		return c.quantified()
	}
	return c.named()
}

func (c *conditions) named() (expr, error) {
	name := c.next()
	if x, ok := c.selections[name]; ok {
		c.left = c.left[1:]
		return x, nil
	}
	if name == "" {
		return nil, refuse(c.line, "the condition ends where a selection should stand")
	}
	return nil, refuse(c.line, "the condition names %q, which is not a selection%s", name, spelling.Suggestion(name, c.names))
}

// quantified reads "1 of", "any of" or "all of" some selections.
func (c *conditions) quantified() (expr, error) {
	quantifier := strings.ToLower(c.left[0])
	c.left = c.left[2:]
	pattern := c.next()
	if pattern == "" {
		return nil, refuse(c.line, "the condition ends after of")
	}
	c.left = c.left[1:]
	var list []expr
	for _, name := range c.names {
		if selects(pattern, name) {
			list = append(list, c.selections[name])
		}
	}
	if len(list) == 0 {
		return nil, refuse(c.line, "no selection is called %s", pattern)
	}
	switch quantifier {
	case "1", "any":
		return some(list), nil
	case "all":
		return every(list), nil
	}
	return nil, refuse(c.line, "%q of: write 1 of, any of or all of", quantifier)
}

// selects reports whether a pattern after "of" selects an identifier. Those that begin with _ are
// selected only by a pattern that does.
func selects(pattern, name string) bool {
	if strings.HasPrefix(name, "_") && !strings.HasPrefix(pattern, "_") {
		return false
	}
	return strings.EqualFold(pattern, "them") || glue(strings.Split(pattern, "*"), name)
}

// glue reports whether name consists of the parts, in order, with any text between them.
func glue(parts []string, name string) bool {
	last := len(parts) - 1
	if last == 0 {
		return name == parts[0]
	}
	if !strings.HasPrefix(name, parts[0]) || !strings.HasSuffix(name[len(parts[0]):], parts[last]) {
		return false
	}
	name = strings.TrimSuffix(name[len(parts[0]):], parts[last])
	for _, part := range slices.Clone(parts[1:last]) {
		_, after, ok := strings.Cut(name, part)
		if !ok {
			return false
		}
		name = after
	}
	return true
}
