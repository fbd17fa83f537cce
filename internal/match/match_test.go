package match_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/parser"

	"github.com/wardstream/wardstream/internal/match"
)

// TestSelection: what each modifier and kind of value matches (yes), and what not (no). Documents
// are JSON.
func TestSelection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, selection string
		yes, no         []string
	}{
		{"text in any case", `a: Foo`, []string{`{"a":"foo"}`, `{"a":"FOO"}`}, []string{`{"a":"foo "}`, `{"a":"fo"}`, `{"b":"foo"}`, `{}`}},
		{"text beyond ASCII in any case", `a: ÄÖ`, []string{`{"a":"äö"}`, `{"a":"Äö"}`}, []string{`{"a":"ao"}`}},
		{"number", `a: 10`, []string{`{"a":10}`, `{"a":"10"}`, `{"a":10.0}`, `{"a":1e1}`}, []string{`{"a":11}`, `{"a":"x"}`, `{"a":"10 "}`}},
		{"text of digits", `a: '010'`, []string{`{"a":"010"}`}, []string{`{"a":10}`}},
		{"truth value", `a: true`, []string{`{"a":true}`, `{"a":"true"}`, `{"a":"True"}`}, []string{`{"a":false}`, `{"a":1}`}},
		{"null", `a: null`, []string{`{}`, `{"a":null}`, `{"a":["x",null]}`}, []string{`{"a":""}`, `{"a":"null"}`, `{"a":0}`}},
		{"empty text", `a: ''`, []string{`{"a":""}`}, []string{`{}`, `{"a":null}`, `{"a":" "}`}},
		{"list", `a: [x, 2, null]`, []string{`{"a":"x"}`, `{"a":2}`, `{}`}, []string{`{"a":"y"}`}},
		{"several attributes", "a: x\nb: y", []string{`{"a":"x","b":"y"}`}, []string{`{"a":"x"}`, `{"a":"x","b":"z"}`}},
		{"several selections", "[{a: x}, {b: y}]", []string{`{"a":"x"}`, `{"b":"y"}`}, []string{`{"a":"y","b":"x"}`}},
		{"list of an attribute", `a: x`, []string{`{"a":["y","X"]}`}, []string{`{"a":["xy"]}`, `{"a":[]}`, `{"a":{"b":"x"}}`}},
		{"nested attribute", `a.b: x`, []string{`{"a":{"b":"x"}}`, `{"a.b":"x"}`}, []string{`{"a":"x"}`, `{"b":"x"}`}},
		{"event type", `event_type: auth.*`, []string{`{"event_type":"auth.login"}`}, []string{`{"event_type":"other"}`, `{"a":"auth.login"}`}},

		{"wildcards", `a: a*c?e`, []string{`{"a":"abcde"}`, `{"a":"acde"}`, `{"a":"aCCxe"}`}, []string{`{"a":"abce"}`, `{"a":"xacde"}`, `{"a":"acdef"}`}},
		{"a wildcard for one character beyond ASCII", `a: x?z`, []string{`{"a":"xäz"}`, `{"a":"x😀z"}`}, []string{`{"a":"xz"}`}},
		{"escaped wildcards", `a: a\*b\?c`, []string{`{"a":"a*b?c"}`}, []string{`{"a":"axbyc"}`}},
		{"backslashes", `a: C:\Windows\*`, []string{`{"a":"c:\\windows*"}`}, []string{`{"a":"c:\\windows\\x"}`}},
		{"an escaped backslash before a wildcard", `a: C:\Windows\\*`, []string{`{"a":"c:\\windows\\x"}`}, []string{`{"a":"c:\\windows*"}`}},
		{"a backslash at the end", `a: dir\`, []string{`{"a":"dir\\"}`}, []string{`{"a":"dir"}`}},
		{"only a wildcard", `a: '*'`, []string{`{"a":"x"}`, `{"a":""}`, `{"a":1}`}, []string{`{}`, `{"a":null}`}},
		{"runs between wildcards", `a: '*ab*ab*b'`, []string{`{"a":"ababb"}`, `{"a":"xabyabzb"}`}, []string{`{"a":"abab"}`, `{"a":"abbb"}`}},
		{"percent signs", `a: '%x%'`, []string{`{"a":"%x%"}`}, []string{`{"a":"x"}`}},

		{"contains", `a|contains: b`, []string{`{"a":"aBc"}`, `{"a":"b"}`, `{"a":["x","abc"]}`}, []string{`{"a":"ac"}`, `{}`}},
		{"startswith", `a|startswith: ab`, []string{`{"a":"ABc"}`}, []string{`{"a":"xab"}`}},
		{"endswith", `a|endswith: bc`, []string{`{"a":"aBC"}`}, []string{`{"a":"bcx"}`}},
		{"contains a number", `a|contains: 40`, []string{`{"a":"x404"}`, `{"a":404}`}, []string{`{"a":"44"}`}},
		{"contains with a wildcard", `a|contains: b?d`, []string{`{"a":"abcde"}`}, []string{`{"a":"abde"}`}},
		{"contains all", `a|contains|all: [x, y]`, []string{`{"a":"axby"}`, `{"a":["x","y"]}`}, []string{`{"a":"x"}`}},
		{"all before contains", `a|all|contains: [x, y]`, []string{`{"a":"yx"}`}, []string{`{"a":"y"}`}},
		{"cased", `a|cased: Foo`, []string{`{"a":"Foo"}`}, []string{`{"a":"foo"}`}},
		{"cased and contains", `a|contains|cased: Foo`, []string{`{"a":"xFoox"}`}, []string{`{"a":"xfoox"}`}},
		{"exists", `a|exists: true`, []string{`{"a":""}`, `{"a":0}`, `{"a":[]}`}, []string{`{}`, `{"a":null}`}},
		{"does not exist", `a|exists: false`, []string{`{}`, `{"a":null}`}, []string{`{"a":""}`}},
		{"not equal", `a|neq: x`, []string{`{"a":"y"}`, `{}`}, []string{`{"a":"X"}`, `{"a":["y","x"]}`}},
		{"not equal to any", `a|neq: [x, y]`, []string{`{"a":"z"}`}, []string{`{"a":"x"}`, `{"a":"y"}`}},
		{"not in it", `a|contains|neq: x`, []string{`{"a":"y"}`, `{}`}, []string{`{"a":"axb"}`}},
		{"gt", `a|gt: 5`, []string{`{"a":6}`, `{"a":"5.5"}`, `{"a":[1,6]}`}, []string{`{"a":5}`, `{"a":"x"}`, `{}`, `{"a":"0x10"}`, `{"a":"inf"}`}},
		{"gte", `a|gte: 5`, []string{`{"a":5}`}, []string{`{"a":4.9}`}},
		{"lt", `a|lt: -1`, []string{`{"a":-2}`}, []string{`{"a":-1}`, `{"a":""}`}},
		{"lte", `a|lte: '2'`, []string{`{"a":2}`}, []string{`{"a":3}`}},

		{"regular expression", `a|re: 'b+c$'`, []string{`{"a":"abbc"}`}, []string{`{"a":"aBC"}`, `{"a":"bcx"}`}},
		{"regular expression in any case", `a|re|i: 'b+c$'`, []string{`{"a":"aBBC"}`}, []string{`{"a":"x"}`}},
		{"regular expression of many lines", `a|re|m: '^b$'`, []string{`{"a":"a\nb\nc"}`}, []string{`{"a":"ab"}`}},
		{"regular expression over lines", `a|re|s: 'a.b'`, []string{`{"a":"a\nb"}`}, []string{`{"a":"ab"}`}},
		{"regular expression of optional parts", `a|re: '^a?b?c?z*$'`, []string{`{"a":"abczz"}`, `{"a":""}`}, []string{`{"a":"zx"}`}},
		{"network", `a|cidr: 10.0.0.0/8`, []string{`{"a":"10.1.2.3"}`, `{"a":"::ffff:10.1.2.3"}`}, []string{`{"a":"11.0.0.1"}`, `{"a":"10.1.2"}`}},
		{"networks", `a|cidr: ['192.0.2.0/24', '2001:db8::/32']`, []string{`{"a":"192.0.2.9"}`, `{"a":"2001:DB8::1"}`}, []string{`{"a":"192.0.3.9"}`}},
		{"windash", `a|contains|windash: ' -enc '`, []string{`{"a":"x -enc y"}`, `{"a":"x /ENC y"}`, `{"a":"x –enc y"}`, `{"a":"x ―enc y"}`}, []string{`{"a":"x +enc y"}`, `{"a":"x--enc y"}`}},
		{"windash leaves dashes in words", `a|windash: -a-b`, []string{`{"a":"/a-b"}`}, []string{`{"a":"/a/b"}`}},
		{"base64", `a|base64: foo`, []string{`{"a":"Zm9v"}`}, []string{`{"a":"foo"}`}},
		{"base64offset", `a|base64offset|contains: foobar`, []string{`{"a":"xxZm9vYmFyxx"}`, `{"a":"IGZvb2Jhcg=="}`, `{"a":"ICBmb29iYXI="}`}, []string{`{"a":"foobar"}`}},
		{"wide", `a|wide: ab`, []string{"{\"a\":\"a\\u0000b\\u0000\"}"}, []string{`{"a":"ab"}`}},
		{"wide and base64", `a|wide|base64offset|contains: ping`, []string{`{"a":"cABpAG4AZwA="}`}, []string{`{"a":"cGluZw=="}`}},
		{"utf16be", `a|utf16be: ab`, []string{"{\"a\":\"\\u0000a\\u0000b\"}"}, []string{`{"a":"ab"}`}},
		{"utf16", `a|utf16|base64: a`, []string{`{"a":"//5hAA=="}`}, []string{`{"a":"YQA="}`}},
		{"another attribute", `a|fieldref: b`, []string{`{"a":"x","b":"X"}`, `{"a":1,"b":"1"}`}, []string{`{"a":"x","b":"y"}`, `{"a":"x"}`, `{"b":"x"}`, `{}`}},
		{"not another attribute", `a|fieldref|neq: b`, []string{`{"a":"x","b":"y"}`, `{"a":"x"}`}, []string{`{"a":"x","b":"x"}`}},
		{"in another attribute", `a|fieldref|endswith: b`, []string{`{"a":"foobar","b":"bar"}`}, []string{`{"a":"barfoo","b":"bar"}`}},
		{"hour", `a|hour: 3`, []string{`{"a":"2026-11-30T03:59:00Z"}`, `{"a":"2026-11-30T03:00:00+05:00"}`, `{"a":10800}`, `{"a":1764558000000}`}, []string{`{"a":"2026-11-30T04:00:00Z"}`, `{"a":"x"}`}},
		{"hours", `a|hour|gte: 22`, []string{`{"a":"2026-11-30T23:00:00Z"}`}, []string{`{"a":"2026-11-30T21:59:59Z"}`}},
		{"week and year", "a|week: 1\na|year: 2026", []string{`{"a":"2026-01-01"}`}, []string{`{"a":"2026-01-09"}`}},

		{"keywords", `[foo, bar]`, []string{`{"a":"a foo b"}`, `{"a":["x","BAR"]}`, `{"a":{"b":{"c":"xbarx"}}}`}, []string{`{"foo":"x"}`, `{}`}},
		{"all keywords", `'|all': [foo, bar]`, []string{`{"a":"foo","b":"bar"}`, `{"a":"foobar"}`}, []string{`{"a":"foo"}`}},
		{"keyword that is a number", `[42]`, []string{`{"a":"x42y"}`, `{"a":42}`}, []string{`{"a":"4 2"}`}},
		{"keyword or attribute", `[foo, {a: x}]`, []string{`{"b":"foo"}`, `{"a":"x"}`}, []string{`{"b":"x"}`}},
		{"one keyword", `foo`, []string{`{"a":"xfoo"}`}, []string{`{"a":"x"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := selection(t, c.selection)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.yes {
				if !m.Match(document(t, text)) {
					t.Errorf("%s does not match %s", c.selection, text)
				}
			}
			for _, text := range c.no {
				if m.Match(document(t, text)) {
					t.Errorf("%s matches %s", c.selection, text)
				}
			}
		})
	}
}

// TestSelectionIsRefused: what has no meaning is refused, with its line.
func TestSelectionIsRefused(t *testing.T) {
	t.Parallel()
	for selects, want := range map[string]string{
		`a|contain: x`:        `unknown modifier "contain"; did you mean "contains"?`,
		`a|: x`:               `unknown modifier ""`,
		`a|expand: '%x%'`:     "expand is not supported",
		`a|i: x`:              "belongs after re",
		`a|re: 'a(?=b)'`:      "RE2 knows no look-around",
		`a|re: '('`:           "missing closing )",
		`a|contains|re: x`:    "must come before",
		`a|re|cased: x`:       "cased is for text",
		`a|cidr: 10.0.0.0/33`: "is not a network",
		`a|cidr|contains: 1`:  "cannot follow",
		`a|gt: x`:             "compares with a number",
		`a|gt: null`:          "compares with a number",
		`a|gt|lt: 1`:          "exclude each other",
		`a|exists: maybe`:     "true or false",
		`a|base64: a*`:        "wildcards",
		`a|base64offset: ''`:  "too short",
		`a|fieldref: b*`:      "wildcards",
		`a|hour: 1.5`:         "whole number",
		`a: {b: c}`:           "one name with dots",
		`a: []`:               "is empty",
		`{}`:                  "is empty",
		`[]`:                  "is empty",
		`null`:                "is empty",
		`a: [[x]]`:            "holds a list",
		`a|contains: null`:    "null cannot be contains",
		`[null]`:              "is empty",
		`'|gt': 1`:            "needs an attribute",
		`'|exists': true`:     "needs an attribute",
		`a: *b`:               "no anchor",
		`a: !!binary x`:       "cannot stand here",
		"a: x\nb: y\na: z":    "twice",
		`a: .inf`:             "cannot",
		`a|windash|base64: '` + strings.Repeat("-x ", 6) + `'`: "more than 3125",
	} {
		t.Run(selects, func(t *testing.T) {
			t.Parallel()
			file, err := parser.ParseBytes([]byte("\n"+selects), 0)
			if err != nil {
				return // not YAML: its parser refuses it
			}
			_, err = match.Selection(file.Docs[0].Body)
			if refused := refusal(t, err); !strings.Contains(refused.Reason, want) || refused.Line < 2 {
				t.Errorf("refused in line %d: %s; want %q in it", refused.Line, refused.Reason, want)
			}
		})
	}
}
