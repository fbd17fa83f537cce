package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fewestPromises is how many rows a page of promises has at least: fewer means
// that the table was not understood.
const fewestPromises = 15

// named is a test as the pages name it: `internal/wire.TestDecodeFlatValues`, maybe with a subtest.
var named = regexp.MustCompile("`([a-z0-9/_-]+)\\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)(?:/[^`]*)?`")

// TestPromises: each row of docs/promises, and of the page on security, names a test that exists,
// so that nothing is promised that no test holds, and no test goes away unnoticed.
func TestPromises(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "docs/promises/*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages of promises (%v)", err)
	}
	for _, file := range append(files, filepath.Join(root, "docs/explanation/security.md")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			rows, known := 0, testsByPackage{}
			for i, line := range strings.Split(string(raw), "\n") {
				promise, tests, ok := promiseRow(line)
				if !ok {
					continue
				}
				rows++
				if problem := known.unheld(t, promise, tests); problem != "" {
					t.Errorf("%s:%d: %s: %s", filepath.Base(file), i+1, promise, problem)
				}
			}
			if rows < fewestPromises {
				t.Errorf("%d rows, want %d and more", rows, fewestPromises)
			}
		})
	}
}

// promiseRow splits a row of a table into its two cells. It reports false for headings and rules.
func promiseRow(line string) (promise, tests string, ok bool) {
	cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
	if len(cells) != 4 || strings.TrimSpace(cells[0]+cells[3]) != "" {
		return "", "", strings.HasPrefix(line, "|") // a row that can't be read names no test
	}
	promise, tests = strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
	return promise, tests, promise != "promise" && strings.Trim(promise, "-: ") != ""
}

// testsByPackage are the tests of the packages asked for so far.
type testsByPackage map[string]map[string]bool

// unheld says what is wrong with the tests that a row names.
func (known testsByPackage) unheld(t *testing.T, promise, tests string) string {
	t.Helper()
	found := named.FindAllStringSubmatch(tests, -1)
	rest := strings.Trim(named.ReplaceAllString(tests, ""), ", ")
	switch {
	case promise == "" || len(found) == 0:
		return "names no test"
	case rest != "":
		return "is not a list of tests: " + rest
	}
	for _, m := range found {
		if known[m[1]] == nil {
			known[m[1]] = testsOf(t, m[1])
		}
		if !known[m[1]][m[2]] {
			return m[1] + " has no " + m[2]
		}
	}
	return ""
}

// testsOf are the tests, fuzz targets and benchmarks of the package in dir.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

// spoken is a test as pages speak of it: with its package, or by its name alone.
var spoken = regexp.MustCompile("`(?:([a-z0-9/_-]+)\\.)?((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)(?:/[^`]*)?`")

// TestTestsThatPagesNameExist: wherever a page of docs names a test, there is one.
func TestTestsThatPagesNameExist(t *testing.T) {
	t.Parallel()
	known, everywhere := testsByPackage{}, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		dir, err := filepath.Rel(root, path)
		known[dir] = testsOf(t, dir)
		maps.Copy(everywhere, known[dir])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages(t) {
		raw, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range spoken.FindAllStringSubmatch(string(raw), -1) {
			found++
			if m[1] == "" && !everywhere[m[2]] || m[1] != "" && !known[m[1]][m[2]] {
				t.Errorf("%s names %s, which isn't there", page, m[0])
			}
		}
	}
	if found < 400 {
		t.Errorf("only %d tests are named", found)
	}
}

// TestPromiseRowsAreRead: what would go unnoticed otherwise is noticed.
func TestPromiseRowsAreRead(t *testing.T) {
	t.Parallel()
	const this = "`internal/doctest.TestPromises`"
	for line, want := range map[string]string{
		"| promise | test |":   "",
		"|---|---|":            "",
		"text":                 "",
		"| a | " + this + " |": "",
		"| a | " + this + ", `internal/doctest.TestShell/x y` |": "",
		"| a | |":                                "names no test",
		"| a | by hand |":                        "names no test",
		"| a | " + this + " and more |":          "is not a list of tests: and more",
		"| a | `internal/doctest.TestNothing` |": "internal/doctest has no TestNothing",
		"| a | b | " + this + " |":               "names no test",
	} {
		promise, tests, ok := promiseRow(line)
		got := ""
		if ok {
			got = testsByPackage{}.unheld(t, promise, tests)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
