package strictconfig

import "testing"

func TestInterpolate(t *testing.T) {
	t.Parallel()
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"A": "1", "EMPTY": "", "SHY": "a: b\n- ${A}", "_x9": "u"}[name]
		return value, ok
	}
	tests := map[string]struct{ text, want, err string }{
		"none":                   {"plain", "plain", ""},
		"one":                    {"${A}", "1", ""},
		"several":                {"x${A}y${_x9}z", "x1yuz", ""},
		"default":                {"${NO:-d e}", "d e", ""},
		"default of empty":       {"${EMPTY:-d}", "d", ""},
		"default not used":       {"${A:-d}", "1", ""},
		"empty default":          {"${NO:-}", "", ""},
		"default holds a dollar": {"${NO:-$5}", "$5", ""},
		"empty":                  {"[${EMPTY}]", "[]", ""},
		"escaped":                {"$${A} $$ $$$$", "${A} $ $$", ""},
		"escaped before":         {"$$${A}", "$1", ""},
		"lone":                   {"^/a$|$b $ $", "^/a$|$b $ $", ""},
		"no second round":        {"${SHY}", "a: b\n- ${A}", ""},
		"unset":                  {"${NO}", "", "the environment has no NO; set it, or write ${NO:-default}"},
		"open":                   {"a ${A", "", "${ has no closing }; write $${ for the two characters themselves"},
		"no name":                {"${}", "", "${} is not ${NAME} or ${NAME:-default}; write $${ for the two characters themselves"},
		"bad name":               {"${1A}", "", "${1A} is not ${NAME} or ${NAME:-default}; write $${ for the two characters themselves"},
		"other shell form":       {"${A:?x}", "", "${A:?x} is not ${NAME} or ${NAME:-default}; write $${ for the two characters themselves"},
		"nested":                 {"${NO:-${A}}", "", "${NO:-${A} is not ${NAME} or ${NAME:-default}; write $${ for the two characters themselves"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := interpolate(tt.text, lookup)
			if got != tt.want || errText(err) != tt.err {
				t.Errorf("interpolate(%q) = %q, %v; want %q, %s", tt.text, got, err, tt.want, tt.err)
			}
			if back, _, err := interpolate(Escape(tt.text), lookup); back != tt.text || err != nil {
				t.Errorf("Escape(%q) reads back as %q, %v", tt.text, back, err)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
