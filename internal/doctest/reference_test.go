package doctest

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

var update = flag.Bool("update", false, "write the generated pages of docs/reference anew")

// generated ends what is written by hand on a page that is generated from there on.
const generated = "-run TestGeneratedPages -update -->\n"

// A command is one whose help is on the page of command lines.
type command struct{ program, words string }

// TestGeneratedPages holds the generated part of the pages of command lines and of ingress-check's
// configuration to what the programs print about themselves.
func TestGeneratedPages(t *testing.T) {
	t.Parallel()
	bin := build(t)
	generate(t, "docs/reference/command-line.md", commandLines(t, bin))
	generate(t, "docs/reference/ingress-check-configuration.md", optionTables(help(t, bin, command{"ingress-check", "serve"})))
}

// generate compares a page's generated part with text, or with -update writes it.
func generate(t *testing.T, page, text string) {
	t.Helper()
	file := filepath.Join(root, page)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	byHand, have, ok := strings.Cut(string(raw), generated)
	want := "\n" + strings.TrimSpace(text) + "\n"
	switch {
	case !ok:
		t.Fatalf("%s: the marker of its generated part is gone", page)
	case *update:
		if err := os.WriteFile(file, []byte(byHand+generated+want), 0o600); err != nil {
			t.Fatal(err)
		}
	case have != want:
		t.Errorf("%s is out of date: go test ./internal/doctest -run TestGeneratedPages -update", page)
	}
}

func help(t *testing.T, bin string, c command) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, c.program), append(strings.Fields(c.words), "--help")...)
	cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s --help: %v\n%s", c.program, c.words, err, out)
	}
	return string(out)
}

// subcommand is a line of the list of commands in a help text.
var subcommand = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) {2,}\S`)

// commandLines is the help of every command of both programs, found by following the lists of
// commands.
func commandLines(t *testing.T, bin string) string {
	t.Helper()
	var b strings.Builder
	for _, program := range []string{"detector", "ingress-check"} {
		queue := []string{""}
		for len(queue) > 0 {
			words := queue[0]
			queue = queue[1:]
			text := help(t, bin, command{program, words})
			title := strings.TrimSpace(program + " " + words)
			fmt.Fprintf(&b, "%s %s\n\n```text\n%s\n```\n\n", strings.Repeat("#", 2+min(1, len(words))), title, strings.TrimSpace(text))
			_, list, _ := strings.Cut(text, "\nCommands:\n")
			list, _, _ = strings.Cut(list, "\n\n")
			for _, m := range subcommand.FindAllStringSubmatch(list, -1) {
				if m[1] != "help" {
					queue = append(queue, strings.TrimSpace(words+" "+m[1]))
				}
			}
		}
	}
	return b.String()
}

var (
	flagLine    = regexp.MustCompile(`^ {2,}(?:-\w, )?--([a-z0-9-]+)(?: ([a-zA-Z]+))? {2,}(.*)$`)
	flagDefault = regexp.MustCompile(` \(default:? ?(.*)\)$`)
)

// optionTables makes tables of the flags in a help text, which are also the keys of the file.
func optionTables(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasSuffix(strings.ToLower(line), "flags:") {
			title := map[string]string{"Flags:": "Of `serve` alone", "Global flags:": "Of `serve` and `check`"}[line]
			fmt.Fprintf(&b, "\n## %s\n\n| flag | key | value | default | meaning |\n|---|---|---|---|---|\n", title)
		}
		m := flagLine.FindStringSubmatch(line)
		if m == nil || m[1] == "help" {
			continue
		}
		value, meaning, standard := m[2], m[3], ""
		if d := flagDefault.FindStringSubmatch(meaning); d != nil {
			meaning, standard = strings.TrimSuffix(meaning, d[0]), d[1]
		}
		if value == "" {
			value, standard = "`true`, `false`", "false"
		}
		key := "`" + strings.ReplaceAll(m[1], "-", "_") + "`"
		if m[1] == "config" {
			key = ""
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s | %s |\n", m[1], key, value, standard, strings.ReplaceAll(meaning, "|", `\|`))
	}
	return b.String()
}

// TestPostgresTablesPage compares the page of tables with those that detector migrate makes.
func TestPostgresTablesPage(t *testing.T) {
	t.Parallel()
	bin, pg := build(t), testenv.Postgres(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "detector"), "migrate")
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "WARDSTREAM_POSTGRES_URL="+pg.URL)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	text := prose(t, "docs/reference/postgres-tables.md")
	var want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z ]+) \\| (yes|no) \\|").FindAllStringSubmatch(text, -1) {
		want = append(want, strings.Join(m[1:], " | "))
	}
	got := query(t, pg, `SELECT column_name || ' | ' || data_type || ' | ' || CASE is_nullable WHEN 'YES' THEN 'yes' ELSE 'no' END
		FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position`)
	if !slices.Equal(got, want) {
		t.Errorf("columns\n%s\nwant those of the page\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, name := range query(t, pg, `SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'permanent_blocks'
		UNION SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`) {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the page lacks %s", name)
		}
	}
}

func query(t *testing.T, pg *testenv.PostgresEnv, sql string) []string {
	t.Helper()
	rows, err := pg.Pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	if err := rows.Err(); err != nil || len(out) == 0 {
		t.Fatalf("no rows: %v", err)
	}
	return out
}

// TestReferenceNames: each name in the code that operators meet is on its page, and the page names
// no other.
func TestReferenceNames(t *testing.T) {
	t.Parallel()
	code := literals(t)
	for name, tc := range map[string]struct {
		page     string
		in       *regexp.Regexp // of literals in the code; its group is the name
		on       *regexp.Regexp // of the page, likewise; nil: it may name others
		fewest   int
		otherUse []string
	}{
		"metrics": {
			page: "docs/reference/metrics.md", fewest: 40, otherUse: []string{"wardstream_global", "wardstream_migrations"},
			in: regexp.MustCompile(`^(wardstream_[a-z_]*[a-z])$`),
		},
		"enforcement events": {
			page: "docs/reference/enforcement-events.md", fewest: 5,
			in: regexp.MustCompile(`^(audit\.enforcement\.[a-z_]+)$`), on: regexp.MustCompile("(?m)^\\| `(audit\\.enforcement\\.[a-z_]+)` \\|"),
		},
		"Redis keys": {
			page: "docs/reference/redis-keys.md", fewest: 14,
			in: regexp.MustCompile(`^(:[a-z]+(?::[a-z]+)*)(?::\{?|\*|:\*)?$`), on: regexp.MustCompile("(?m)^\\| `\\{prefix\\}(:[a-z]+(?::[a-z]+)*)"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, found := prose(t, tc.page), map[string]bool{}
			for literal, file := range code {
				m := tc.in.FindStringSubmatch(literal)
				if m == nil || slices.Contains(tc.otherUse, m[1]) {
					continue
				}
				found[m[1]] = true
				if !regexp.MustCompile(regexp.QuoteMeta(m[1]) + `\b`).MatchString(text) {
					t.Errorf("%s lacks %q of %s: add a row", tc.page, m[1], file)
				}
			}
			if len(found) < tc.fewest {
				t.Errorf("only %d names in the code, want %d: the test does not see them", len(found), tc.fewest)
			}
			if tc.on == nil {
				return
			}
			for _, m := range tc.on.FindAllStringSubmatch(text, -1) {
				if !composed(m[1], found) {
					t.Errorf("%s names %q, which is not in the code", tc.page, m[1])
				}
			}
		})
	}
}

// composed reports whether name is one of the found, or one of them appended to another.
func composed(name string, found map[string]bool) bool {
	for part := range found {
		if rest, ok := strings.CutPrefix(name, part); ok && (rest == "" || found[rest]) {
			return true
		}
	}
	return false
}

// deadReason is a constant that a dead letter's reason begins with.
var deadReason = regexp.MustCompile(`\breason[A-Z]\w* *= "([a-z ]+)`)

// TestDeadLetterReasonsPage: every reason that the code gives is on the page. Those of the decoder
// have a test beside it.
func TestDeadLetterReasonsPage(t *testing.T) {
	t.Parallel()
	text, found := prose(t, "docs/reference/dead-letters.md"), 0
	sources(t, func(path string, raw []byte) {
		for _, m := range deadReason.FindAllStringSubmatch(string(raw), -1) {
			if strings.HasPrefix(path, "internal/rules") { // reasons of another kind: why an event was not counted
				continue
			}
			found++
			if !strings.Contains(text, "`"+m[1]+"`") {
				t.Errorf("the page lacks the reason %q of %s", m[1], path)
			}
		}
	})
	if found < 4 {
		t.Errorf("only %d reasons in the code: the test does not see them", found)
	}
}

// TestEnforcementAttributesPage: every attribute of an enforcement event is on the page.
func TestEnforcementAttributesPage(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(root, "internal/wire/enforcement.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "type enforcementAttrs struct {")
	fields, _, _ := strings.Cut(rest, "\n}")
	tags := regexp.MustCompile(`json:"([a-z_.]+)`).FindAllStringSubmatch(fields, -1)
	if len(tags) < 15 {
		t.Fatalf("only %d attributes in the code", len(tags))
	}
	text := prose(t, "docs/reference/enforcement-events.md")
	for _, m := range tags {
		if !strings.Contains(text, "`"+m[1]+"`") {
			t.Errorf("the page lacks the attribute %s", m[1])
		}
	}
}

// sources calls f with each Go file that is not a test.
func sources(t *testing.T, f func(path string, raw []byte)) {
	t.Helper()
	for _, dir := range []string{"cmd", "internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			f(filepath.ToSlash(rel), raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// literals are the string literals of the code, each with a file that has it.
func literals(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	sources(t, func(path string, raw []byte) {
		if strings.Contains(path, "/storetest/") || strings.Contains(path, "/testenv/") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, raw, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					out[text] = path
				}
			}
			return true
		})
	})
	return out
}
