package doctest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A snippet is Go code of a page: a whole file, or lines to insert after a line of one.
type snippet struct {
	page, file string
	after      string // the line, trimmed; "" for a whole file
	code       string
}

var snippetHead = regexp.MustCompile(`^// file: (\S+?)(?:, after: (.+))?$`)

// snippets returns the Go code of the pages for contributors.
func snippets(t *testing.T) []snippet {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(root, "docs/contributing/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []snippet
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var s *snippet
		fresh := false
		for _, line := range strings.Split(string(raw), "\n") {
			text := strings.TrimPrefix(line, "   ")
			switch {
			case s == nil && text == "```go":
				s, fresh = &snippet{page: filepath.Base(page)}, true
			case s != nil && text == "```":
				found = append(found, *s)
				s = nil
			case s != nil && fresh:
				m := snippetHead.FindStringSubmatch(text)
				if m == nil {
					t.Fatalf("%s: a Go block begins with %q: begin it with // file: PATH, or // file: PATH, after: LINE", page, text)
				}
				s.file, s.after, fresh = m[1], m[2], false
			case s != nil:
				s.code += text + "\n"
			}
		}
	}
	return found
}

// TestContributingExamplesCompile builds the programs with the examples of every page in them, and
// runs the tests among the examples.
func TestContributingExamplesCompile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	overlay, pages := map[string]string{}, map[string]bool{}
	packages, tested := []string{"./cmd/..."}, map[string]bool{}
	for i, s := range snippets(t) {
		pages[s.page] = true
		original, err := filepath.Abs(filepath.Join(root, s.file))
		if err != nil {
			t.Fatal(err)
		}
		code := s.code
		if s.after != "" {
			now := original
			if replaced, ok := overlay[original]; ok {
				now = replaced
			}
			code = inserted(t, s, now)
		}
		replacement := filepath.Join(dir, fmt.Sprint(i, ".go"))
		if err := os.WriteFile(replacement, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay[original] = replacement
		packages = append(packages, "./"+path.Dir(s.file))
		if strings.HasSuffix(s.file, "_test.go") {
			tested["./"+path.Dir(s.file)] = true
		}
	}
	for _, page := range []string{"rule.md", "sink.md", "proxy-endpoint.md", "redis-key.md", "command.md", "configuration-key.md", "block-store.md"} {
		if !pages[page] {
			t.Errorf("docs/contributing/%s has no example: add a Go block that begins with // file: PATH", page)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, list, 0o600); err != nil {
		t.Fatal(err)
	}
	slices.Sort(packages)
	build := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", name, "-o", os.DevNull}, slices.Compact(packages)...)...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("the examples of docs/contributing do not compile any more: %v\n%s", err, out)
	}
	for pkg := range tested {
		runExample(t, name, pkg)
	}
}

// runExample runs the tests of a package with the examples in it. The package may have no
// directory, which go test would enter.
func runExample(t *testing.T, overlay, pkg string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "example.test")
	for _, args := range [][]string{{"go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, pkg}, {binary}} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("the tests of the example %s fail: %v\n%s", pkg, err, out)
			return
		}
	}
}

// inserted returns the file now with the snippet after its line.
func inserted(t *testing.T, s snippet, now string) string {
	t.Helper()
	raw, err := os.ReadFile(now)
	if err != nil {
		t.Fatalf("%s: %v", s.page, err)
	}
	var out bytes.Buffer
	times := 0
	for _, line := range strings.SplitAfter(string(raw), "\n") {
		out.WriteString(line)
		if strings.TrimSpace(line) == s.after {
			out.WriteString(s.code)
			times++
		}
	}
	if times != 1 {
		t.Errorf("%s: %s has the line %q %d times, want once: write where the example belongs now", s.page, s.file, s.after, times)
	}
	return out.String()
}

// TestEveryBuiltinRuleIsComplete names what a new rule lacks.
func TestEveryBuiltinRuleIsComplete(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	set, page, readme := read("internal/rules/set.go"), read("docs/reference/rules.md"), read("README.md")
	var schema struct {
		Defs map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(read("schema/config.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	registered := regexp.MustCompile(`(?m)^\t"(\w+)": +\{new`).FindAllStringSubmatch(set, -1)
	if len(registered) < 8 {
		t.Fatalf("found %d rules in builtins of internal/rules/set.go", len(registered))
	}
	for _, m := range registered {
		rule := m[1]
		for _, piece := range []struct {
			there bool
			what  string
		}{
			{exists("internal/rules/" + rule + ".go"), "its file internal/rules/" + rule + ".go"},
			{schema.Defs[rule] != nil, "its entry in $defs of schema/config.schema.json"},
			{strings.Contains(page, "\n## "+rule+"\n"), "its section in docs/reference/rules.md"},
			{strings.Contains(readme, "`"+rule+"`"), "its row in the table of rules in README.md"},
		} {
			if !piece.there {
				t.Errorf("the rule %s lacks %s; see docs/contributing/rule.md", rule, piece.what)
			}
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return err == nil
}
