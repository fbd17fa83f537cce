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
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal([]byte(goTool(t, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	documented := documentedModules(t)
	direct := 0
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		direct++
		if documented[r.Path] == "" {
			t.Errorf("go.mod requires %s, which no file of docs/decisions names: say why it is there", r.Path)
		}
		delete(documented, r.Path)
	}
	if direct == 0 {
		t.Fatal("go.mod has no direct dependency: run go mod tidy")
	}
	for path, file := range documented {
		t.Errorf("%s names %s, which go.mod does not require directly", file, path)
	}
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
