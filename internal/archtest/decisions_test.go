package archtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// modulePath is a module named in backticks at the start of a list item: "- `example.org/mod`".
var modulePath = regexp.MustCompile("(?m)^- `([^`]+)`")

// TestDependenciesHaveReasons: each direct dependency is named in docs/decisions, with why it is
// there, and nothing is named there that the module no longer needs.
func TestDependenciesHaveReasons(t *testing.T) {
	t.Parallel()
	documented := documentedModules(t)
	used := map[string]bool{module: true}
	for _, dir := range ourModules {
		for _, path := range directDependencies(t, dir) {
			if documented[path] == "" && path != module {
				t.Errorf("go.mod in %s requires %s, which no file of docs/decisions names: say why it is there", dir, path)
			}
			used[path] = true
		}
	}
	for path, file := range documented {
		if !used[path] {
			t.Errorf("%s names %s, which no go.mod requires directly", file, path)
		}
	}
}

func directDependencies(t *testing.T, dir string) []string {
	t.Helper()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal([]byte(goTool(t, dir, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range mod.Require {
		if !r.Indirect {
			paths = append(paths, r.Path)
		}
	}
	if len(paths) == 0 {
		t.Fatalf("go.mod in %s has no direct dependency: run go mod tidy there", dir)
	}
	return paths
}

// documentedModules maps each module that docs/decisions names to the file that does.
func documentedModules(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "docs/decisions/*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in docs/decisions (%v)", err)
	}
	out := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range modulePath.FindAllStringSubmatch(string(text), -1) {
			if other := out[m[1]]; other != "" {
				t.Errorf("%s and %s both name %s", filepath.Base(other), filepath.Base(file), m[1])
			}
			out[m[1]] = file
		}
	}
	return out
}
