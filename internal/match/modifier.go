package match

import (
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/spelling"
)

// modifiers are those of one item, as [Sigma's appendix] defines them.
//
// [Sigma's appendix]:
// https://github.com/SigmaHQ/sigma-specification/blob/main/specification/sigma-appendix-modifiers.md
type modifiers struct {
	all, negated, cased bool
	// of is what the value is: text or a pattern if "", else the modifier that says otherwise (re,
	// cidr, exists, fieldref, a comparison, a part of a time).
	of   string
	part string // of a time that is compared
	// texts are those that change text, in order: contains, windash, base64, ...
	texts []string
	flags string // of a regular expression
}

// What modifiers do to what, by name.
var (
	textModifiers = []string{"contains", "startswith", "endswith", "windash", "base64", "base64offset", "wide", "utf16le", "utf16be", "utf16"}
	timeParts     = []string{"minute", "hour", "day", "week", "month", "year"}
	comparisons   = []string{"lt", "lte", "gt", "gte"}
	wholeValues   = []string{"re", "cidr", "exists", "fieldref"}
	regexpFlags   = map[string]string{"i": "i", "ignorecase": "i", "m": "m", "multiline": "m", "s": "s", "dotall": "s"}
	listModifiers = []string{"all", "neq", "cased", "expand"}
)

func knownModifiers() []string {
	known := slices.Concat(textModifiers, timeParts, comparisons, wholeValues, listModifiers)
	for name := range regexpFlags {
		known = append(known, name)
	}
	slices.Sort(known)
	return known
}

func parseModifiers(names []string, line int) (modifiers, error) {
	var m modifiers
	for _, name := range names {
		if err := m.add(name, line); err != nil {
			return m, err
		}
	}
	err := m.check(line)
	return m, err
}

func (m *modifiers) add(name string, line int) error {
	switch flag := regexpFlags[name]; {
	case name == "all":
		m.all = true
	case name == "neq":
		m.negated = true
	case name == "cased":
		m.cased = true
	case name == "expand":
		return refuse(line, "modifier expand is not supported: nothing here defines placeholders; write the values out")
	case flag != "":
		if m.of != "re" {
			return refuse(line, "modifier %s belongs after re", name)
		}
		if !strings.Contains(m.flags, flag) {
			m.flags += flag
		}
	case slices.Contains(textModifiers, name):
		if m.of != "" && m.of != "re" && m.of != "fieldref" {
			return refuse(line, "modifier %s cannot follow %s", name, m.of)
		}
		m.texts = append(m.texts, name)
	case slices.Contains(timeParts, name):
		if m.part != "" {
			return refuse(line, "modifiers %s and %s exclude each other", m.part, name)
		}
		m.part = name
	case slices.Contains(wholeValues, name), slices.Contains(comparisons, name):
		if m.of != "" {
			return refuse(line, "modifiers %s and %s exclude each other", m.of, name)
		}
		if len(m.texts) > 0 && name != "fieldref" {
			return refuse(line, "modifier %s must come before %s", name, m.texts[0])
		}
		m.of = name
	default:
		known := knownModifiers()
		return refuse(line, "unknown modifier %q%s (known: %s)", name, spelling.Suggestion(name, known), strings.Join(known, ", "))
	}
	return nil
}

// check refuses combinations that have no meaning.
func (m *modifiers) check(line int) error {
	switch {
	case m.part != "" && m.of != "" && !slices.Contains(comparisons, m.of):
		return refuse(line, "modifiers %s and %s exclude each other", m.part, m.of)
	case (m.of == "re" || m.of == "fieldref") && slices.ContainsFunc(m.texts, func(name string) bool { return !isAffix(name) }):
		return refuse(line, "only contains, startswith and endswith can follow %s", m.of)
	case m.cased && (m.of != "" && m.of != "fieldref" || m.part != ""):
		return refuse(line, "modifier cased is for text; a regular expression heeds case unless it has the flag i")
	case m.part != "" && len(m.texts) > 0:
		return refuse(line, "modifiers %s and %s exclude each other", m.texts[0], m.part)
	}
	return nil
}

// isAffix reports whether the modifier says where in the attribute the value stands.
func isAffix(name string) bool {
	return name == "contains" || name == "startswith" || name == "endswith"
}
