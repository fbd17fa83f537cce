package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module = "github.com/wardstream/wardstream"
	root   = "../.."
)

// ourModules are the folders of the module and of the nested ones with packages of ours. Chaos has
// its own, since what it needs for faults of the network would else be in the module graph of every
// importer.
var ourModules = []string{".", "internal/chaos"}

// A pkg is one package of these modules; paths are relative to the outer one.
type pkg struct {
	path, name, dir      string
	files                []string // without tests
	imports, testImports []string // of ours
}

// packages lists the modules' packages by asking the go command, for this platform.
func packages(t *testing.T) []pkg {
	t.Helper()
	var out []pkg
	for _, dir := range ourModules {
		out = append(out, packagesOf(t, dir)...)
	}
	if len(out) < 10 {
		t.Fatalf("go list found %d packages: is this the module's root?", len(out))
	}
	return out
}

func packagesOf(t *testing.T, dir string) (out []pkg) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(goTool(t, dir, "list", "-e", "-json=ImportPath,Name,Dir,GoFiles,Imports,TestImports,XTestImports", "./...")))
	for {
		var p struct {
			ImportPath, Name, Dir                       string
			GoFiles, Imports, TestImports, XTestImports []string
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles)+len(p.TestImports)+len(p.XTestImports) == 0 {
			continue // a folder that has no Go file for this platform
		}
		out = append(out, pkg{
			path: ours(p.ImportPath), name: p.Name, dir: p.Dir, files: p.GoFiles,
			imports: onlyOurs(p.Imports), testImports: onlyOurs(append(p.TestImports, p.XTestImports...)),
		})
	}
}

func ours(path string) string { return strings.TrimPrefix(path, module+"/") }

func onlyOurs(paths []string) []string {
	var out []string
	for _, p := range paths {
		if strings.HasPrefix(p, module+"/") {
			out = append(out, ours(p))
		}
	}
	return out
}

// goTool runs the go command in a folder of the repository and returns what it prints.
func goTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(root, dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// goFiles lists every Go file of the repository, tests, other platforms and nested modules
// included, relative to its root.
func goFiles(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".go" {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func isTest(file string) bool { return strings.HasSuffix(file, "_test.go") }
