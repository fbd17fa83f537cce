package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines = 500
	maxMainLines = 80
)

// Packages are called after what they do, not after what they are made of.
var vagueNames = []string{"util", "utils", "common", "types", "helper", "helpers", "model", "models", "manager", "misc", "base", "shared"}

func TestFileSizes(t *testing.T) {
	t.Parallel()
	for _, file := range goFiles(t) {
		if isTest(file) || strings.HasSuffix(file, ".pb.go") {
			continue
		}
		limit := maxFileLines
		if strings.HasPrefix(file, "cmd/") {
			limit = maxMainLines - 1
		}
		src, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(src, []byte("\n")); lines > limit {
			t.Errorf("%s has %d lines; the limit is %d", file, lines, limit)
		}
	}
}

func TestPackageNames(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if slices.Contains(vagueNames, strings.TrimSuffix(p.name, "_test")) || slices.Contains(vagueNames, filepath.Base(p.dir)) {
			t.Errorf("package %s: call it after what it does", p.path)
		}
	}
}

func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.files) == 0 {
			continue // tests alone
		}
		fset := token.NewFileSet()
		documented := slices.ContainsFunc(p.files, func(file string) bool {
			f, err := parser.ParseFile(fset, filepath.Join(p.dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			return err == nil && f.Doc != nil
		})
		if !documented {
			t.Errorf("package %s has no package comment", p.path)
		}
	}
}

// TestNoInit: what runs before main can't be tested, ordered or left out.
func TestNoInit(t *testing.T) {
	t.Parallel()
	for _, file := range goFiles(t) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function; call it from main instead", file)
			}
		}
	}
}
