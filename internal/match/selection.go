package match

import "strings"

// compileSelection compiles what stands below an identifier.
func compileSelection(t tree) (expr, error) {
	switch t.kind {
	case mapKind:
		return compileItems(t)
	case listKind:
		return compileAlternatives(t)
	case nullKind:
		return nil, refuse(t.line, "a selection is empty")
	case textKind:
		if t.text == "" {
			return nil, refuse(t.line, "a selection is empty")
		}
	}
	return compileItem("", t)
}

// compileItems compiles a mapping: every item must hold.
func compileItems(t tree) (expr, error) {
	var all []expr
	for _, e := range t.entries {
		x, err := compileItem(e.key, e.at())
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	if len(all) == 0 {
		return nil, refuse(t.line, "a selection is empty")
	}
	return every(all), nil
}

// at returns the value, with the line of its key if it has none of its own.
func (e *entry) at() tree {
	v := e.value
	if v.line == 0 {
		v.line = e.line
	}
	return v
}

// compileAlternatives compiles a list of mappings and keywords: one must hold.
func compileAlternatives(t tree) (expr, error) {
	var one []expr
	for _, item := range t.items {
		x, err := compileSelection(item)
		if err != nil {
			return nil, err
		}
		one = append(one, x)
	}
	if len(one) == 0 {
		return nil, refuse(t.line, "a selection is empty")
	}
	return some(one), nil
}

// compileItem compiles one item of a selection: an attribute or, if the key names none, keywords;
// with modifiers after |.
func compileItem(key string, t tree) (expr, error) {
	names := strings.Split(key, "|")
	mods, err := parseModifiers(names[1:], t.line)
	if err != nil {
		return nil, err
	}
	item := item{field: names[0], modifiers: mods, line: t.line}
	values := []tree{t}
	switch t.kind {
	case listKind:
		values = t.items
	case mapKind:
		return nil, refuse(t.line, "the value of %q is a mapping; write a nested attribute as one name with dots", key)
	}
	if len(values) == 0 {
		return nil, refuse(t.line, "the list of %q is empty", key)
	}
	var list []expr
	for _, v := range values {
		x, err := item.compile(v)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	x := some(list)
	if mods.all {
		x = every(list)
	}
	if mods.negated {
		x = not{x}
	}
	return x, nil
}
