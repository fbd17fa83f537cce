package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// testenv keeps the servers that the tests of one binary share: one set a process.
const mayHaveGlobals = "internal/testenv"

// TestNoGlobalState: package variables are tables and sentinels. Each is given its value where it
// is declared (or by go:embed), is of no type that exists to be changed, and no function assigns to
// it.
func TestNoGlobalState(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.path == mayHaveGlobals {
			continue
		}
		for _, finding := range globalState(t, p) {
			t.Errorf("package %s: %s", p.path, finding)
		}
	}
}

func globalState(t *testing.T, p pkg) []string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.files {
		f, err := parser.ParseFile(fset, filepath.Join(p.dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return stateIn(files)
}

// stateIn reports package variables that hold state, over the files of one package.
func stateIn(files []*ast.File) []string {
	var findings []string
	global, specs := map[string]bool{}, map[any]bool{}
	for _, f := range files {
		eachVariable(f, func(spec *ast.ValueSpec, embedded bool) {
			specs[spec] = true
			for _, name := range spec.Names {
				global[name.Name] = name.Name != "_"
				if !embedded && len(spec.Values) == 0 {
					findings = append(findings, "variable "+name.Name+" has no value where it is declared")
				}
			}
			for _, e := range append([]ast.Expr{spec.Type}, spec.Values...) {
				if made := stateful(e); made != "" {
					findings = append(findings, "variable "+spec.Names[0].Name+" is a "+made)
				}
			}
		})
	}
	for _, f := range files {
		findings = append(findings, assignments(f, func(id *ast.Ident) bool {
			// The parser resolves what is declared in the same file; the rest is the package's, if
			// it is declared at all.
			return global[id.Name] && (id.Obj == nil || specs[id.Obj.Decl])
		})...)
	}
	return findings
}

// eachVariable visits the package variables of f.
func eachVariable(f *ast.File, visit func(spec *ast.ValueSpec, embedded bool)) {
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			value := spec.(*ast.ValueSpec)
			visit(value, embeds(gen.Doc) || embeds(value.Doc))
		}
	}
}

func embeds(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if strings.HasPrefix(c.Text, "//go:embed ") {
			return true
		}
	}
	return false
}

// stateful names what e makes, if that is of package sync or atomic: something that is there to
// change. A sync.Pool is a cache of the allocator's and may stay.
func stateful(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.CompositeLit:
			e = x.Type
		case *ast.UnaryExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.CallExpr:
			e = x.Fun
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			from, ok := x.X.(*ast.Ident)
			if ok && (from.Name == "sync" || from.Name == "atomic") && x.Sel.Name != "Pool" {
				return from.Name + "." + x.Sel.Name
			}
			return ""
		default:
			return ""
		}
	}
}

// assignments finds what functions of f do to package variables: assign to them or to what they
// hold, count them up, delete from them or take their address.
func assignments(f *ast.File, global func(*ast.Ident) bool) []string {
	var findings []string
	report := func(e ast.Expr, what string) {
		if id := rootOf(e); id != nil && global(id) {
			findings = append(findings, "a function "+what+" the package variable "+id.Name)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, lhs := range n.Lhs {
					report(lhs, "assigns to")
				}
			}
		case *ast.IncDecStmt:
			report(n.X, "assigns to")
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				report(n.X, "takes the address of")
			}
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && (fun.Name == "delete" || fun.Name == "clear") && len(n.Args) > 0 {
				report(n.Args[0], "deletes from")
			}
		}
		return true
	})
	return findings
}

// rootOf is the variable that an assignable expression starts at: x of x.f[i].
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func TestNoGlobalStateFindsEachKind(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		src  string
		want string // in the one finding; empty: none
	}{
		"table":              {`var t = map[string]int{"a": 1}; func f() int { return t["a"] }`, ""},
		"sentinel":           {`import "errors"; var errGone = errors.New("gone")`, ""},
		"local of that name": {`var n = 1; func f() { n := 2; n++; _ = n }`, ""},
		"parameter":          {`var n = 1; func f(n int) { n = 2; _ = n }`, ""},
		"local variable":     {`var n = 1; func f() { var n int; n = 2; _ = n }`, ""},
		"embedded":           {"import \"embed\"\n//go:embed x\nvar files embed.FS", ""},
		"interface check":    {`import "io"; var _ io.Reader = (*r)(nil); type r struct{}`, ""},
		"pool":               {`import "sync"; var buffers = sync.Pool{}`, ""},
		"no value":           {`var n int`, "no value"},
		"mutex":              {`import "sync"; var mu = sync.Mutex{}`, "sync.Mutex"},
		"atomic":             {`import "sync/atomic"; var p = &atomic.Pointer[int]{}`, "atomic.Pointer"},
		"once":               {`import "sync"; var load = sync.OnceValue(func() int { return 1 })`, "sync.OnceValue"},
		"assigned":           {`var n = 1; func f() { n = 2 }`, "assigns"},
		"element assigned":   {`var t = map[string]int{}; func f() { t["a"] = 1 }`, "assigns"},
		"field assigned":     {`var o = struct{ n int }{1}; func f() { o.n = 2 }`, "assigns"},
		"counted":            {`var n = 1; func f() { n++ }`, "assigns"},
		"deleted from":       {`var t = map[string]int{}; func f() { delete(t, "a") }`, "deletes"},
		"address":            {`var n = 1; func f() *int { return &n }`, "address"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+tt.src, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			found := strings.Join(stateIn([]*ast.File{f}), "; ")
			if (found == "") != (tt.want == "") || !strings.Contains(found, tt.want) {
				t.Errorf("found %q, want %q", found, tt.want)
			}
		})
	}
}
