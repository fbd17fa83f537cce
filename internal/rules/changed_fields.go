package rules

import (
	"maps"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
)

// changedFields returns the names of the fields that an event says were changed. It reads every
// form that frameworks write: a list, the members of an object, comma-separated names, a list as
// the language prints it, and a list of objects that each name a field. It returns false if
// changed_fields is present but no name can be read from it.
func changedFields(e *event.Event) ([]string, bool) {
	v, ok := e.Get("changed_fields")
	if !ok {
		return nil, true
	}
	switch v := v.(type) {
	case string:
		names := fieldsInText(v)
		return names, len(names) > 0 || strings.Trim(v, "[](){} ") == ""
	case map[string]any:
		return slices.Collect(maps.Keys(v)), true
	case []any:
		names := make([]string, 0, len(v))
		for _, item := range v {
			if name := fieldName(item); name != "" {
				names = append(names, name)
			}
		}
		return names, len(names) == len(v)
	}
	return nil, false
}

// fieldName returns the field name in an item of a list of fields, or "".
func fieldName(item any) string {
	if text, ok := event.Text(item); ok {
		return text
	}
	m, ok := item.(map[string]any)
	if !ok {
		return ""
	}
	for _, key := range [...]string{"field", "field_name", "fieldName", "name", "attribute", "column", "property", "key", "path"} {
		if text, ok := event.Text(m[key]); ok && text != "" {
			if key == "path" { // of a JSON Patch
				text = strings.TrimPrefix(text, "/")
			}
			return text
		}
	}
	if len(m) == 1 { // {"email": ["old", "new"]}
		for name := range m {
			return name
		}
	}
	return ""
}

// fieldsInText returns the names in text: separated by commas or semicolons, with or without
// brackets and quotes, or, within brackets, separated by blanks as Go prints lists.
func fieldsInText(text string) []string {
	text, separators := strings.TrimSpace(text), ",;"
	if inner, ok := inBrackets(text); ok {
		if text = inner; !strings.ContainsAny(text, separators) {
			separators = " "
		}
	}
	var names []string
	for name := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if name = unquotedField(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// inBrackets returns what is inside the brackets at the end of text, such as [email, role],
// dict_keys(['email']) and {email,role}.
func inBrackets(text string) (string, bool) {
	begin := strings.IndexAny(text, "[({")
	if begin < 0 || !strings.ContainsAny(text[len(text)-1:], "])}") || strings.ContainsAny(text[:begin], `,;"' `) {
		return "", false
	}
	return strings.Trim(text[begin:], "[](){}"), true
}

// unquotedField returns a name without surrounding blanks and quotation marks.
func unquotedField(name string) string {
	name = strings.TrimSpace(name)
	for _, prefix := range [...]string{"u'", "b'"} { // as Python prints text and bytes
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, "'") {
			name = name[1:]
		}
	}
	return strings.TrimSpace(strings.Trim(name, `"'`+"`"))
}
