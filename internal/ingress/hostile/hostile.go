// Package hostile holds the requests with which clients try to get an answer that ingress-check
// didn't decide, for tests of ingress-check alone and of the proxies in front of it. requests.txt
// explains its lines.
package hostile

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

//go:embed requests.txt
var text string

// A Request is one of the corpus.
type Request struct {
	Name string // what it tries
	line string // as in the corpus
}

var (
	repeated = regexp.MustCompile(`<<((?:[^<>])*?)\*(\d+)>>`)
	target   = regexp.MustCompile(`(?s)<([^<>]*)>( HTTP/)`)
)

// All returns the corpus. A line that can't be read panics: the corpus is part of the program.
func All() []Request {
	var out []Request
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, request, ok := strings.Cut(line, "\t")
		if !ok {
			panic("no tab in " + line)
		}
		out = append(out, Request{Name: name, line: request})
	}
	return out
}

// Raw returns the bytes of the request. aim makes of the target the one to ask for, and proxy are
// lines that a proxy adds, each with its CRLF.
func (r Request) Raw(aim func(target string) string, proxy string) string {
	raw, err := strconv.Unquote(`"` + strings.ReplaceAll(r.line, `"`, `\"`) + `"`)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", r.Name, err))
	}
	raw = repeated.ReplaceAllStringFunc(raw, func(all string) string {
		m := repeated.FindStringSubmatch(all)
		n, err := strconv.Atoi(m[2])
		if err != nil {
			panic(fmt.Sprintf("%s: %v", r.Name, err))
		}
		return strings.Repeat(m[1], n)
	})
	raw = strings.Replace(raw, "<<proxy>>", proxy, 1)
	return target.ReplaceAllStringFunc(raw, func(all string) string {
		return aim(strings.TrimSuffix(all[1:], "> HTTP/")) + " HTTP/"
	})
}

// Fixed returns an aim at one target, as proxies have that ask for the same always.
func Fixed(target string) func(string) string { return func(string) string { return target } }

// Behind returns an aim at the request's own target behind a prefix, as Envoy has.
func Behind(prefix string) func(string) string {
	return func(target string) string { return prefix + target }
}
