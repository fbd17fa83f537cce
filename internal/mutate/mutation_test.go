package mutate

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// root is the module's, from here.
const root = "../.."

// A mutation is one guarantee broken.
type mutation struct {
	// Name says what is wrong with the program then.
	Name string `yaml:"name"`
	// File is what is changed, from the module's root.
	File string `yaml:"file"`
	// Find is the text that is replaced, with Replace; it is in File once.
	Find    string `yaml:"find"`
	Replace string `yaml:"replace"`
	// Tests are the tests that are to fail, one of them at least: the -run of each package. None
	// means all of File's package.
	Tests map[string]string `yaml:"tests"`
	// Equivalent says why no test can fail, though the program is another; "" if one must.
	Equivalent string `yaml:"equivalent"`
}

// load reads all mutations, those of one file after the other.
func load(t *testing.T) []mutation {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no mutations: %v", err)
	}
	var all []mutation
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var part []mutation
		if err := yaml.UnmarshalWithOptions(text, &part, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, part...)
	}
	return all
}

// apply returns the text of the mutated file; dir is the module's root.
func (m *mutation) apply(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, m.File))
	if err != nil {
		return "", fmt.Errorf("read the file to mutate: %w", err)
	}
	if n := strings.Count(string(text), m.Find); n != 1 {
		return "", fmt.Errorf("%s has what is to be replaced %d times, want once: %q", m.File, n, m.Find)
	}
	if m.Find == m.Replace {
		return "", fmt.Errorf("%s: nothing is replaced", m.File)
	}
	mutated := strings.Replace(string(text), m.Find, m.Replace, 1)
	if strings.HasSuffix(m.File, ".go") {
		if _, err := parser.ParseFile(token.NewFileSet(), m.File, mutated, parser.SkipObjectResolution); err != nil {
			return "", fmt.Errorf("the mutated file: %w", err)
		}
	}
	return mutated, nil
}

// runs are the tests to run: the -run of each package.
func (m *mutation) runs() map[string]string {
	if len(m.Tests) > 0 {
		return m.Tests
	}
	return map[string]string{"./" + filepath.ToSlash(filepath.Dir(m.File)): "."}
}

// least is how many mutations there are at least, and parts are what each has some of.
const least = 60

var parts = []string{
	"internal/window/", "internal/store/", "internal/consumer/", "internal/enforce/", "internal/detector/", "internal/ingress/", "pkg/checker/",
}

// TestMutationsApply: a mutation whose code has moved mutates nothing, and is named. Names are
// unique, and every part of Wardstream that keeps promises is mutated.
func TestMutationsApply(t *testing.T) {
	t.Parallel()
	all := load(t)
	names := map[string]bool{}
	for i := range all {
		m := &all[i]
		if m.Name == "" || names[m.Name] {
			t.Errorf("%s: the name %q is empty or another's", m.File, m.Name)
		}
		names[m.Name] = true
		if _, err := m.apply(root); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		for pkg := range m.runs() {
			if tests, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go")); err != nil || len(tests) == 0 {
				t.Errorf("%s: %s has no tests", m.Name, pkg)
			}
		}
	}
	if len(all) < least {
		t.Errorf("%d mutations, want %d", len(all), least)
	}
	for _, part := range parts {
		if !slices.ContainsFunc(all, func(m mutation) bool { return strings.HasPrefix(m.File, part) }) {
			t.Errorf("%s is not mutated", part)
		}
	}
}
