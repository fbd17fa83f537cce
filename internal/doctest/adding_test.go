package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestEverySinkAndEndpointIsDocumented names the line that a new sink or proxy endpoint lacks.
func TestEverySinkAndEndpointIsDocumented(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file   string
		in     *regexp.Regexp // its group is the name
		fewest int
		page   string
		before string // of the name on the page, an expression
		after  string
		remedy string
	}{
		"sink": {
			file: "internal/sinks/sinkset/sinkset.go", in: regexp.MustCompile(`sinks\.Named\{\s*Name: +(?:fmt\.Sprintf\()?"([a-z_]+)`), fewest: 3,
			page: "docs/reference/metrics.md", before: "(?m)^`sink` is .*`", after: "[0-9]*`",
			remedy: "name it in the line that begins with `sink` is",
		},
		"endpoint": {
			file: "internal/ingress/forward.go", in: regexp.MustCompile(`(?m)^\t+"(/[a-z-]*)": +\{`), fewest: 6,
			page: "docs/reference/ingress-check.md", before: "(?m)^\\| `", after: "` \\|",
			remedy: "add a row to the table of endpoints",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(filepath.Join(root, tc.file))
			if err != nil {
				t.Fatal(err)
			}
			found := tc.in.FindAllStringSubmatch(string(raw), -1)
			if len(found) < tc.fewest {
				t.Fatalf("found %d in %s, want %d or more", len(found), tc.file, tc.fewest)
			}
			page := prose(t, tc.page)
			for _, m := range found {
				if !regexp.MustCompile(tc.before + regexp.QuoteMeta(m[1]) + tc.after).MatchString(page) {
					t.Errorf("%s lacks the %s %q of %s: %s", tc.page, name, m[1], tc.file, tc.remedy)
				}
			}
		})
	}
}
