package checker

import (
	"net/netip"
	"strings"
)

// lastCommaUnquoted returns the index of the last comma of s outside quoted strings, or -1. It
// reads from the right, where the nearest proxy has written, so that an unclosed quotation mark
// sent by a client cannot hide what the proxies appended.
func lastCommaUnquoted(s string) int {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !(quoted && escaped(s, i)):
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return i
		}
	}
	return -1
}

// escaped reports whether an odd number of backslashes stands before s[i].
func escaped(s string, i int) bool {
	n := 0
	for i > n && s[i-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// forwardedFor returns the address in the "for" parameter of one element of a Forwarded header (RFC
// 7239, section 4). It returns false if the parameter is missing or repeated, the node is unknown
// or obfuscated, or the element is malformed.
func forwardedFor(element string) (addr netip.Addr, ok bool) {
	found := false
	for rest := element; rest != ""; {
		var name, value string
		if name, value, rest, ok = pair(strings.TrimLeft(rest, " \t")); !ok {
			return netip.Addr{}, false
		}
		if !strings.EqualFold(name, "for") {
			continue
		}
		if found {
			return netip.Addr{}, false
		}
		if addr, found = node(value); !found {
			return netip.Addr{}, false
		}
	}
	return addr, found
}

// pair reads one parameter, which may be empty, and the semicolon after it.
func pair(s string) (name, value, rest string, ok bool) {
	if s == "" {
		return "", "", "", true
	}
	if s[0] == ';' {
		return "", "", s[1:], true
	}
	name, s = token(s)
	if name == "" || s == "" || s[0] != '=' {
		return "", "", "", false
	}
	s = s[1:]
	if strings.HasPrefix(s, `"`) {
		value, s, ok = quotedString(s)
	} else {
		value, s = token(s)
		ok = value != ""
	}
	s = strings.TrimLeft(s, " \t")
	if !ok || (s != "" && s[0] != ';') {
		return "", "", "", false
	}
	return name, value, strings.TrimPrefix(s, ";"), true
}

// token splits s after the token at its start.
func token(s string) (tok, rest string) {
	i := 0
	for i < len(s) && isToken(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c < 0x7f && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// quotedString returns the value of the quoted string at the start of s, and the rest of s.
func quotedString(s string) (value, rest string, ok bool) {
	var plain []byte // the value, once a backslash made it differ from the text
	start := 1
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return string(plain) + s[start:i], s[i+1:], true
		case '\\':
			plain = append(plain, s[start:i]...)
			i++
			start = i
		}
	}
	return "", "", false
}

// node parses an address with an optional port, which may be obfuscated. An IPv6 address must be in
// brackets.
func node(s string) (netip.Addr, bool) {
	if len(s) > maxAddrText {
		return netip.Addr{}, false
	}
	text, port, hasPort := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		text = s[1:end]
		if port, hasPort = strings.CutPrefix(s[end+1:], ":"); !hasPort && port != "" {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Is6() != (s[0] == '[') || (hasPort && !isNodePort(port)) {
		return netip.Addr{}, false
	}
	return addr.Unmap().WithZone(""), true
}

// isNodePort reports whether s is one to five digits, or an underscore followed by letters, digits,
// ".", "_" and "-".
func isNodePort(s string) bool {
	digits, obfuscated := len(s) >= 1 && len(s) <= 5, len(s) >= 2 && s[0] == '_'
	for i := range len(s) {
		digits = digits && s[i] >= '0' && s[i] <= '9'
		obfuscated = obfuscated && isToken(s[i]) && strings.IndexByte("!#$%&'*+^`|~", s[i]) < 0
	}
	return digits || obfuscated
}
