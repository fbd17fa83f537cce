package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pure are the packages in which the same values in always give the same values
// out: an entry that is delivered again must come to the same as before.
var pure = []string{"internal/event", "internal/window", "internal/wire", "internal/rules", "internal/enforce"}

// impure is what reaches outside: files, networks, stores, other processes.
var impure = []string{"os", "net", "net/http", "os/exec", "database/sql", "log", "log/slog", "github.com/redis/go-redis/v9", "github.com/jackc/pgx/v5"}

// TestPureCore: rules and what they are made of do no I/O and read no clock.
func TestPureCore(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, p := range packages(t) {
		if !slices.Contains(pure, p.path) {
			continue
		}
		seen++
		for _, file := range p.files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, finding := range outside(f) {
				t.Errorf("%s/%s %s", p.path, file, finding)
			}
		}
	}
	if seen != len(pure) {
		t.Errorf("%d of the %d pure packages are there", seen, len(pure))
	}
}

// outside reports what in a file does I/O or reads the clock.
func outside(f *ast.File) []string {
	var findings []string
	for _, imp := range f.Imports {
		if path := strings.Trim(imp.Path.Value, `"`); slices.Contains(impure, path) {
			findings = append(findings, "imports "+path)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, ok := sel.X.(*ast.Ident)
		clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
		if ok && of.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
			findings = append(findings, "calls time."+sel.Sel.Name)
		}
		return true
	})
	return findings
}

func TestPureCoreFindsEachViolation(t *testing.T) {
	t.Parallel()
	src := "package p\nimport (\"os\"; \"time\")\nvar _ = time.Now().After(time.Unix(0, 0))\nvar _ = os.Getenv(\"x\")\n"
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if got := outside(f); !slices.Equal(got, []string{"imports os", "calls time.Now"}) {
		t.Errorf("%q", got)
	}
}
