package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScriptsAreInFilesOfTheirOwn: a Lua script in a Go string has no header that is checked.
func TestScriptsAreInFilesOfTheirOwn(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, call := range []string{"redis.call(", "redis.pcall(", "redis.NewScript("} {
			if strings.Contains(string(src), call) {
				t.Errorf("%s has %s: move the script to a .lua file beside it and make it with redislua.New", path, call)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestScriptsAreDocumented: each Lua script begins with its keys, its
// arguments, its result and what it costs Redis.
func TestScriptsAreDocumented(t *testing.T) {
	t.Parallel()
	scripts := 0
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".lua") {
			return err
		}
		scripts++
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		comment, _, _ := strings.Cut(string(src), "\n\n")
		for _, part := range []string{"\n-- KEYS ", "\n-- ARGV ", "\n-- Result ", "\n-- Cost "} {
			if !strings.Contains(comment, part) {
				t.Errorf("%s does not begin with its%s", path, strings.TrimPrefix(part, "\n--"))
			}
		}
		return nil
	})
	if err != nil || scripts == 0 {
		t.Fatalf("%d scripts (%v)", scripts, err)
	}
}
