package doctest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	index     = "docs/README.md"
	maxClicks = 2
)

// A link is a link of a page to a file of the repository; to is relative to the root.
type link struct{ to, fragment string }

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]*))?\)`)
	headingPattern = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	// notInSlug is what GitHub leaves out of a heading to make its anchor.
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	linkText  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// TestLinks checks that every link between files leads to a file, and every fragment to a heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		for _, l := range links(t, page) {
			if _, err := os.Stat(filepath.Join(root, l.to)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, l.to)
				continue
			}
			if l.fragment != "" && strings.HasSuffix(l.to, ".md") && !anchors(t, l.to)[l.fragment] {
				t.Errorf("%s links to #%s of %s, which has no such heading", page, l.fragment, l.to)
			}
		}
	}
}

// TestEveryPageIsNearTheIndex checks that each page of docs is at most two clicks from
// docs/README.md.
func TestEveryPageIsNearTheIndex(t *testing.T) {
	t.Parallel()
	clicks := map[string]int{index: 0}
	for queue := []string{index}; len(queue) > 0; queue = queue[1:] {
		page := queue[0]
		for _, l := range links(t, page) {
			if _, seen := clicks[l.to]; !seen && strings.HasSuffix(l.to, ".md") {
				clicks[l.to] = clicks[page] + 1
				queue = append(queue, l.to)
			}
		}
	}
	for _, page := range pages(t) {
		n, reached := clicks[page]
		if strings.HasPrefix(page, "docs/") && (!reached || n > maxClicks) {
			t.Errorf("%s is not within %d clicks of %s: add a link to it there, or on a page that the index links to", page, maxClicks, index)
		}
	}
}

// links are the links of a page to files, outside blocks of code.
func links(t *testing.T, page string) []link {
	t.Helper()
	var out []link
	for _, m := range linkPattern.FindAllStringSubmatch(prose(t, page), -1) {
		to := page
		if m[1] != "" {
			to = path.Join(path.Dir(page), m[1])
		}
		out = append(out, link{to, m[2]})
	}
	return out
}

// anchors are the fragments that lead to a heading of the page, as GitHub makes them.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for line := range strings.Lines(prose(t, page)) {
		m := headingPattern.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		slug := notInSlug.ReplaceAllString(strings.ToLower(linkText.ReplaceAllString(m[1], "$1")), "")
		out[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return out
}

// prose is the page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	inCode := false
	for line := range strings.Lines(string(raw)) {
		if fence.MatchString(strings.TrimRight(line, "\n")) {
			inCode = !inCode
		} else if !inCode {
			out.WriteString(line)
		}
	}
	return out.String()
}

const questions, fewestQuestions = "docs/questions.md", 14

// answer is a link to a Go file with the name to look for in it:
// [keys.go](../internal/rediskey/keys.go) `Keys`.
var answer = regexp.MustCompile(`\]\(([^)]+\.go)\) ` + "`([^`]+)`")

// TestQuestionsAreAnswered: each question has a link, and each Go file that answers one holds the
// name beside it.
func TestQuestionsAreAnswered(t *testing.T) {
	t.Parallel()
	rows := 0
	for line := range strings.Lines(prose(t, questions)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || cells[0] == "| question" {
			continue
		}
		rows++
		if !strings.HasSuffix(cells[0], "?") || !linkPattern.MatchString(cells[2]) {
			t.Errorf("%s: %q is no question with a link to its answer", questions, line)
		}
		for _, m := range answer.FindAllStringSubmatch(cells[2], -1) {
			raw, err := os.ReadFile(filepath.Join(root, path.Dir(questions), m[1]))
			if err != nil || !strings.Contains(string(raw), m[2]) {
				t.Errorf("%s: %s has no %s (%v)", questions, m[1], m[2], err)
			}
		}
	}
	if rows < fewestQuestions {
		t.Errorf("%s has %d questions, want %d and more", questions, rows, fewestQuestions)
	}
}

// TestArchitectureNamesPackagesThatExist: each package on the page of the architecture is there.
func TestArchitectureNamesPackagesThatExist(t *testing.T) {
	t.Parallel()
	const page = "docs/explanation/architecture.md"
	raw, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(?:cmd|internal|pkg)/[a-z0-9/_.-]*[a-z0-9]`).FindAllString(string(raw), -1)
	if len(named) < 40 {
		t.Errorf("%s names only %d packages", page, len(named))
	}
	for _, name := range named {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s names %s, which is not there", page, name)
		}
	}
}

const proseWidth = 100

// unbreakable is what a line is not wrapped in: code and links.
var unbreakable = regexp.MustCompile("`[^`]*`" + `|\[[^\]]*\]\([^)]*\)`)

// TestProseWraps: lines of prose are at most 100 columns wide, unless one link or name is. Tables,
// headings, code and what is generated may be wider.
func TestProseWraps(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		byHand, _, _ := strings.Cut(prose(t, page), "-update -->")
		for line := range strings.Lines(byHand) {
			line = strings.TrimSpace(strings.TrimLeft(line, " -*"))
			words := strings.Fields(unbreakable.ReplaceAllStringFunc(line, func(s string) string { return strings.ReplaceAll(s, " ", "_") }))
			if utf8.RuneCountInString(line) > proseWidth && len(words) > 1 && !strings.ContainsRune("|#<", rune(line[0])) {
				t.Errorf("%s: wrap the line at %d columns: %s", page, proseWidth, line)
			}
		}
	}
}

// TestArchitectureNamesEveryPackage: a package of internal that the page of the architecture lacks
// has no place on the map.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	const page = "docs/explanation/architecture.md"
	raw, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join(root, "internal/*/"))
	if err != nil || len(dirs) < 20 {
		t.Fatalf("%d packages, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		if name := "internal/" + filepath.Base(dir); !strings.Contains(string(raw), "[`"+name) {
			t.Errorf("%s lacks %s: add a row that says what it does", page, name)
		}
	}
}
