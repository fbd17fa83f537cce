package strictconfig

import (
	"fmt"
	"regexp"
	"strings"
)

// reference is what stands between the braces of ${…}: a name and perhaps a
// default.
var reference = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(?:(:-)(.*))?$`)

// interpolate replaces ${NAME} and ${NAME:-default} by the environment's value,
// and $$ by $; any other $ stands for itself. The default holds where NAME is
// unset or empty. It reports whether the environment was read.
func interpolate(text string, lookup func(name string) (string, bool)) (out string, read bool, err error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), read, nil
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
			continue
		case !strings.HasPrefix(rest, "{"):
			b.WriteByte('$')
			text = rest
			continue
		}
		inner, after, closed := strings.Cut(rest[1:], "}")
		if !closed {
			return "", false, fmt.Errorf("${ has no closing }; write $${ for the two characters themselves")
		}
		value, err := resolveReference(inner, lookup)
		if err != nil {
			return "", false, err
		}
		b.WriteString(value)
		text, read = after, true
	}
}

func resolveReference(inner string, lookup func(name string) (string, bool)) (string, error) {
	m := reference.FindStringSubmatch(inner)
	if m == nil || strings.Contains(inner, "${") {
		return "", fmt.Errorf("${%s} is not ${NAME} or ${NAME:-default}; write $${ for the two characters themselves", clip(inner))
	}
	value, ok := lookup(m[1])
	switch {
	case m[2] != "" && value == "":
		return m[3], nil
	case !ok:
		return "", fmt.Errorf("the environment has no %s; set it, or write ${%s:-default}", clip(m[1]), clip(m[1]))
	}
	return value, nil
}

func clip(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "…"
}

// lookup reads the environment. Shells know HOSTNAME but seldom export it.
func (d *Decoder) lookup(name string) (string, bool) {
	value, ok := d.environ[name]
	if !ok && name == "HOSTNAME" {
		return d.o.Hostname, d.o.Hostname != ""
	}
	return value, ok
}

// Escape is the inverse of interpolate for text that is to stay as it is.
func Escape(text string) string {
	return strings.NewReplacer("$$", "$$$$", "${", "$${").Replace(text)
}
