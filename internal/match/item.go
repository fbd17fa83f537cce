package match

import (
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
)

// An item is an attribute, "" for keywords, with the modifiers of its values.
type item struct {
	field     string
	modifiers modifiers
	line      int
}

// compile compiles one value of the item.
func (it *item) compile(t tree) (expr, error) {
	m := &it.modifiers
	if it.field == "" && (m.of != "" && m.of != "re" || m.part != "") {
		return nil, refuse(t.line, "modifier %s%s needs an attribute before it", m.of, m.part)
	}
	switch {
	case m.part != "":
		return it.timePart(t)
	case m.of == "exists":
		return it.exists(t)
	case m.of == "fieldref":
		return it.fieldRef(t)
	case m.of == "re":
		return it.regexp(t)
	case m.of == "cidr":
		return it.cidr(t)
	case m.of != "":
		return it.number(t, m.of)
	}
	return it.plain(t)
}

// has returns the condition that the attribute, or for keywords any, has the value.
func (it *item) has(v value) expr {
	if it.field == "" {
		return &keyword{v}
	}
	return &comparison{it.field, v}
}

// plain compiles a value without a modifier that says what it is.
func (it *item) plain(t tree) (expr, error) {
	m := &it.modifiers
	switch {
	case t.kind == listKind || t.kind == mapKind:
		return nil, refuse(t.line, "the list of %q holds %s", it.field, t.kind)
	case t.kind == nullKind && (it.field == "" || len(m.texts) > 0):
		return nil, refuse(t.line, "null cannot be %s", valueOr(m.texts, "a keyword"))
	case t.kind == nullKind:
		return &null{it.field}, nil
	case t.kind == numberKind && len(m.texts) == 0 && it.field != "":
		return &comparison{it.field, number{t.text, t.number}}, nil
	case t.kind == boolKind && len(m.texts) == 0 && it.field != "":
		return &comparison{it.field, equal{fold(false).of(t.text)}}, nil
	}
	patterns, err := m.apply(t)
	if err != nil {
		return nil, err
	}
	var list []expr
	for _, p := range patterns {
		if it.field == "" { // a keyword may stand anywhere in a value
			p = p.openStart().openEnd()
		}
		list = append(list, it.has(p.compile(m.cased)))
	}
	return some(list), nil
}

func valueOr(list []string, otherwise string) string {
	if len(list) == 0 {
		return otherwise
	}
	return list[0]
}

func (it *item) exists(t tree) (expr, error) {
	if t.kind != boolKind {
		return nil, refuse(t.line, "exists is true or false, not %s", t.kind)
	}
	if len(it.modifiers.texts) > 0 {
		return nil, refuse(t.line, "nothing can follow exists")
	}
	if t.text == "false" {
		return not{&exists{it.field}}, nil
	}
	return &exists{it.field}, nil
}

func (it *item) regexp(t tree) (expr, error) {
	if t.kind != textKind && t.kind != numberKind {
		return nil, refuse(t.line, "a regular expression is text, not %s", t.kind)
	}
	text := t.text
	if slices.Contains(it.modifiers.texts, "startswith") {
		text = "^(?:" + text + ")"
	}
	if slices.Contains(it.modifiers.texts, "endswith") {
		text = "(?:" + text + ")$"
	}
	if it.modifiers.flags != "" {
		text = "(?" + it.modifiers.flags + ":" + text + ")"
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, refuse(t.line, "regular expression %q cannot be used (RE2 knows no look-around and no back-references): %v", t.text, reason(err))
	}
	return it.has(expression{re}), nil
}

// reason leaves out of an error of a regular expression what its text says already.
func reason(err error) any {
	if s, ok := err.(*syntax.Error); ok { //nolint:errorlint // as regexp returns it
		return s.Code
	}
	return err
}

func (it *item) cidr(t tree) (expr, error) {
	text := strings.TrimSpace(t.text)
	network, err := netip.ParsePrefix(text)
	if err != nil {
		addr, addrErr := netip.ParseAddr(text)
		if t.kind != textKind || addrErr != nil {
			return nil, refuse(t.line, "%q is not a network such as 192.0.2.0/24", t.text)
		}
		network = netip.PrefixFrom(addr, addr.BitLen())
	}
	if len(it.modifiers.texts) > 0 {
		return nil, refuse(t.line, "nothing can follow cidr")
	}
	return it.has(within{network.Masked()}), nil
}

func (it *item) number(t tree, op string) (expr, error) {
	n, ok := t.number, t.kind == numberKind
	if t.kind == textKind {
		n, ok = parseNumber(t.text)
	}
	if !ok {
		return nil, refuse(t.line, "%s compares with a number, not %s", op, t.kind)
	}
	return it.has(compared{op, n}), nil
}

func (it *item) timePart(t tree) (expr, error) {
	if t.kind != numberKind || t.number != float64(int(t.number)) {
		return nil, refuse(t.line, "%s is a whole number, not %s", it.modifiers.part, valueOr([]string{t.text}, "null"))
	}
	return it.has(timePart{it.modifiers.part, it.modifiers.of, int(t.number)}), nil
}

func (it *item) fieldRef(t tree) (expr, error) {
	if t.kind != textKind {
		return nil, refuse(t.line, "fieldref names an attribute; %s does not", t.kind)
	}
	other, ok := parsePattern(t.text).literal()
	if !ok || other == "" {
		return nil, refuse(t.line, "fieldref names an attribute; %q has wildcards", t.text)
	}
	r := &reference{field: it.field, other: other, cased: it.modifiers.cased}
	for _, affix := range it.modifiers.texts {
		r.anyBefore = r.anyBefore || affix != "startswith"
		r.anyAfter = r.anyAfter || affix != "endswith"
	}
	return r, nil
}

// A number is a value that an attribute has as text, or as a number written otherwise.
type number struct {
	text string
	n    float64
}

func (v number) matches(text string) bool {
	if text == v.text {
		return true
	}
	n, ok := parseNumber(text)
	return ok && n == v.n
}

// parseNumber reads a decimal number. Hexadecimal, infinities and the like are none.
func parseNumber(text string) (float64, bool) {
	if text == "" || len(text) > 64 || strings.ContainsAny(text, "xXpPiInN_") {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// An expression is a regular expression that holds somewhere in the text.
type expression struct{ *regexp.Regexp }

func (v expression) matches(text string) bool { return v.MatchString(text) }

// within is a network that an address is in.
type within struct{ netip.Prefix }

func (v within) matches(text string) bool {
	addr, err := netip.ParseAddr(text)
	return err == nil && v.Contains(addr.Unmap().WithZone(""))
}

// compared is a bound of a number.
type compared struct {
	op string
	n  float64
}

func (v compared) matches(text string) bool {
	n, ok := parseNumber(text)
	return ok && holds(n, v.op, v.n)
}

func holds[N int | float64](a N, op string, b N) bool {
	switch op {
	case "lt":
		return a < b
	case "lte":
		return a <= b
	case "gt":
		return a > b
	case "gte":
		return a >= b
	}
	return a == b
}

// A reference says that two attributes have the same text, or that one has the other's in it.
type reference struct {
	field, other               string
	cased, anyBefore, anyAfter bool
}

func (r *reference) holds(e *event.Event) bool {
	a, ok := lookup(e, r.field)
	b, there := lookup(e, r.other)
	if !ok || !there {
		return false
	}
	return anyScalar(&b, referred{r, &a})
}

// referred decides about one value of the other attribute.
type referred struct {
	*reference
	of *event.Attr
}

func (v referred) matches(other string) bool {
	f := fold(v.cased).of(other)
	switch {
	case v.anyBefore && v.anyAfter:
		return anyScalar(v.of, contains{f})
	case v.anyBefore:
		return anyScalar(v.of, suffix{f})
	case v.anyAfter:
		return anyScalar(v.of, prefix{f})
	}
	return anyScalar(v.of, equal{f})
}
