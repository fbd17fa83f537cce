package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/wire"
)

// backtracking are patterns that an engine which goes back takes two to the power of a path's
// length for, or its square at the least.
var backtracking = []string{`(a+)+$`, `(a|aa)+$`, `(a|a)*$`, `(.*)*x`, `(a*)*b`, `(.*a){20}x`, `(\w+\s?)*$x`, `^(([a-z])+.)+[A-Z]([a-z])+$`, `(?:a?){500}a{500}x`}

// longest is how much of a path is matched.
func longest() int { return wire.DefaultLimits().StringBytes }

// withPaths are the rules that take patterns.
func withPaths(t testing.TB) []string {
	t.Helper()
	takes := slices.DeleteFunc(rules.Names(), func(name string) bool {
		_, _, err := rules.Build([]rules.Spec{patterned(name, `^/$`)}, time.Minute)
		return err != nil && strings.Contains(err.Error(), "unknown field")
	})
	if len(takes) != 3 {
		t.Fatalf("%q take patterns", takes)
	}
	return takes
}

func patterned(name, pattern string) rules.Spec {
	return rules.Spec{Name: name, Decode: func(into any) error {
		return yaml.UnmarshalWithOptions(fmt.Appendf(nil, "paths: ['%s']", pattern), into, yaml.Strict())
	}}
}

// hostilePath almost matches.
func hostilePath(n int) *event.Event {
	return &event.Event{Type: "audit.http.request.pre", Attrs: []event.Attr{{Name: "url.path", Value: strings.Repeat("a", n-1) + "!"}}}
}

// TestPatternsDoNotBacktrack: matching takes time linear in the length of the path, whatever the
// pattern. With a backtracking engine this test would not end. BenchmarkPatterns measures the time.
func TestPatternsDoNotBacktrack(t *testing.T) {
	t.Parallel()
	for _, name := range withPaths(t) {
		for _, pattern := range backtracking {
			specs := []rules.Spec{spec("brute_force_login", ""), patterned(name, pattern)}
			built, at, err := rules.Build(specs, time.Minute)
			if err != nil {
				t.Fatalf("%s of rule %d: %v", pattern, at, err)
			}
			e := hostilePath(longest())
			ops := built[1].Plan(e, nil)
			if m, ok := built[1].Judge(e, make([]int, len(ops))); ok {
				t.Errorf("%s matches %+v by %s", name, m, pattern)
			}
		}
	}
}

// TestPatternsThatNeedBacktrackingAreRefused: patterns that cannot be matched in linear time are an
// error in the configuration.
func TestPatternsThatNeedBacktrackingAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range withPaths(t) {
		for _, pattern := range []string{`(a)\1`, `(?=a)b`, `(?!a)b`, `(?<=a)b`, `(?<!a)b`, `(?>a+)b`, `a++b`, `(?(1)a|b)`, `(a{1000}){1000}`} {
			if _, _, err := rules.Build([]rules.Spec{patterned(name, pattern)}, time.Minute); err == nil || !strings.HasPrefix(err.Error(), "paths[0]: error parsing regexp: ") {
				t.Errorf("%s takes %s: %v", name, pattern, err)
			}
		}
	}
}

// BenchmarkPatterns matches paths of a length and of twice that: the time of a byte stays what it
// is.
func BenchmarkPatterns(b *testing.B) {
	for _, pattern := range backtracking {
		built, _, err := rules.Build([]rules.Spec{patterned("request_body_threshold", pattern)}, time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{longest() / 2, longest()} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(pattern, "/", "_"), n), func(b *testing.B) {
				e := hostilePath(n)
				for b.Loop() {
					built[0].Judge(e, nil)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/byte")
			})
		}
	}
}
