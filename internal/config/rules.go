package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/wardstream/wardstream/internal/match"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/spelling"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A Rule is one rule as configured.
type Rule struct {
	Name string
	// Type is the built-in rule that it is, or a general type; Name, if the configuration says
	// nothing else.
	Type string
	// action is what the rule's own entry says to do about matches; nil if it says nothing.
	action *Action
	// params is a pointer to the rule's own struct, defaults filled in.
	params  any
	entries []strictconfig.Entry
}

// A Param is one parameter of a rule, given or by default.
type Param struct {
	Key   string
	Value any
}

// Params returns the rule's parameters, in the order of its documentation. A
// parameter that is left open has the Value nil.
func (r *Rule) Params() []Param {
	if r.params == nil {
		return nil
	}
	v := reflect.ValueOf(r.params).Elem()
	fields := strictconfig.FieldsOf(v.Type())
	out := make([]Param, len(fields))
	for i, f := range fields {
		out[i].Key = f.Name
		value := v.FieldByIndex(f.Index)
		if value.Kind() == reflect.Pointer {
			if m, ok := value.Interface().(*match.Matcher); ok && m != nil {
				out[i].Value = m.Source()
				continue
			}
			value = value.Elem() // of nil: no value
		}
		if value.IsValid() && !unset(value, f.Tag) {
			out[i].Value = value.Interface()
		}
	}
	return out
}

// param is the value of one parameter, nil if it has none.
func (r *Rule) param(key string) any {
	for _, p := range r.Params() {
		if p.Key == key {
			return p.Value
		}
	}
	return nil
}

// DecodeYAML takes the rule's name, type and action. Its parameters wait for the rule, which
// knows them.
func (r *Rule) DecodeYAML(d *strictconfig.Decoder, n ast.Node, s strictconfig.Setting) {
	if _, ok := n.(ast.MapNode); !ok {
		d.Refuse(s.Key, "is %s, not a mapping; write name: and the rule's parameters", strictconfig.Describe(n))
		return
	}
	for _, e := range d.Entries(n, s) {
		switch e.Name {
		case "name":
			d.Decode(e.Value, s.Child("name", reflect.ValueOf(&r.Name).Elem(), ""))
		case "type":
			d.Decode(e.Value, s.Child("type", reflect.ValueOf(&r.Type).Elem(), ""))
		case "action":
			r.action = &Action{}
			d.Decode(e.Value, s.Child("action", reflect.ValueOf(r.action).Elem(), ""))
		default:
			r.entries = append(r.entries, e)
		}
	}
	if r.Type == "" {
		r.Type = r.Name
	}
}

// ruleName is what keys, metrics and events can carry.
var ruleName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

// manual is the rule of operators' own blocks.
const manual = "manual"

// errRefused stands for errors that are reported already.
var errRefused = errors.New("refused")

// buildRules compiles the rules. A rule that can't be used is reported and left
// out, so that the others are looked at, too.
func (v *validator) buildRules(proxies checker.TrustedProxies) {
	at := v.buildable()
	for {
		specs := make([]rules.Spec, len(at))
		for i, rule := range at {
			specs[i] = v.spec(rule)
		}
		built, bad, err := rules.Build(specs, v.c.Windows.Lateness, rules.WithTrustedProxies(proxies))
		if err == nil {
			v.c.RuleSet = rules.NewSet(built...)
			return
		}
		v.refuseRule(at[bad], err)
		at = slices.Delete(at, bad, bad+1)
	}
}

// buildable returns the indexes of the rules that exist, and refuses the rest.
func (v *validator) buildable() []int {
	var at []int
	seen := map[string]bool{}
	for i, r := range v.c.Rules {
		key := fmt.Sprintf("rules[%d].name", i)
		switch names := rules.Names(); {
		case r.Name == "":
			v.Refuse(key, "is missing; name one of %s", strings.Join(names, ", "))
		case slices.Contains(rules.General(), r.Name):
			v.Refuse(key, "%s is a type; give the rule a name of its own and write type: %s", strictconfig.Quote(r.Name), r.Name)
		case r.Type != r.Name && !slices.Contains(rules.Types(), r.Type):
			v.Refuse(fmt.Sprintf("rules[%d].type", i), "%s is not a type of rules; write one of %s%s",
				strictconfig.Quote(r.Type), strings.Join(rules.Types(), ", "), spelling.Suggestion(r.Type, rules.Types()))
		case r.Type == r.Name && !slices.Contains(names, r.Name):
			v.Refuse(key, "%s is not a rule; name one of %s%s", strictconfig.Quote(r.Name), strings.Join(names, ", "), spelling.Suggestion(r.Name, names))
		case r.Type != r.Name && (slices.Contains(names, r.Name) || r.Name == manual):
			v.Refuse(key, "%s means something else; choose another name", strictconfig.Quote(r.Name))
		case !ruleName.MatchString(r.Name):
			v.Refuse(key, "%s is not a name: write up to 64 of a to z, 0 to 9, _, - and ., a letter first", strictconfig.Quote(r.Name))
		case seen[r.Name]:
			v.Refuse(key, "%s is there twice; keep one", strictconfig.Quote(r.Name))
		default:
			at = append(at, i)
		}
		seen[r.Name] = true
	}
	return at
}

// spec is the rule as its package wants it.
func (v *validator) spec(i int) rules.Spec {
	r := &v.c.Rules[i]
	return rules.Spec{Name: r.Name, Type: r.Type, Decode: func(params any) error {
		r.params = params
		before := v.Failures()
		v.DecodeEntries(r.entries, strictconfig.Setting{Key: fmt.Sprintf("rules[%d]", i), V: reflect.ValueOf(params).Elem()})
		if v.Failures() > before {
			return errRefused
		}
		return nil
	}}
}

func (v *validator) refuseRule(i int, err error) {
	key := fmt.Sprintf("rules[%d]", i)
	var param *rules.ParamError
	switch {
	case errors.Is(err, errRefused):
	case errors.As(err, &param):
		v.Refuse(key+"."+param.Param, "%v", param.Err)
	default:
		v.Refuse(key, "%v", err)
	}
}

// runs reports whether the configuration lists a rule of the type.
func (v *validator) runs(typ string) bool {
	return slices.ContainsFunc(v.c.Rules, func(r Rule) bool { return r.Type == typ })
}

// listed reports whether the configuration lists the rule.
func (v *validator) listed(name string) bool {
	return slices.ContainsFunc(v.c.Rules, func(r Rule) bool { return r.Name == name })
}
