package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// oldWords are words and phrases that a reader would have to ask about, with what to write instead.
// They are matched in any case, inside identifiers too.
var oldWords = []struct {
	pattern *regexp.Regexp
	write   string
}{
	{regexp.MustCompile(`bury|burial|buried`), "dead-letter"},
	{regexp.MustCompile(`roomy`), "hasCapacity"},
	{regexp.MustCompile(`outofroom`), "out of memory"},
	{regexp.MustCompile(`untold|\btold of\b|\btells? of\b`), "publish, report"},
	{regexp.MustCompile(`annals`), "history"},
	{regexp.MustCompile(`(can't|cannot|isn't) be had\b|\bisn't had\b`), "is not available, is already in use"},
	{regexp.MustCompile(`whoever|whomever|somebody`), "user, client, operator, anyone"},
	{regexp.MustCompile(`\bmend(s|ed|ing)?\b`), "fix"},
	{regexp.MustCompile(`(events|entries) ?of ?the ?future`), "with a future timestamp"},
	{regexp.MustCompile(`upkeep|\bchores?\b`), "maintenance"},
	{regexp.MustCompile(`\bin vain\b`), "timed out"},
	{regexp.MustCompile(`\bin hand\b|inhand\b`), "in flight"},
	{regexp.MustCompile(`\bthat (is|are) none\b`), "invalid, malformed"},
	{regexp.MustCompile(`\bis none of (the|its)\b`), "is not one of"},
	{regexp.MustCompile(`hesitat`), "confirm"},
	{regexp.MustCompile(`answerer`), "server"},
	{regexp.MustCompile(`suspect`), "poison candidate"},
	{regexp.MustCompile(`\bkillers?\b`), "poison entry"},
	{regexp.MustCompile(`overtaken`), "superseded, conflict"},
	{regexp.MustCompile(`\bflights\b`), "batcher"},
}

// allowedWords are the places where such a word stays, by file, and why it does.
var allowedWords = map[string]map[string]string{
	"overtaken": {
		"docs/reference/metrics.md":          metricValue,
		"internal/store/tiered/reconcile.go": metricValue,
	},
	"suspect": {
		"docs/reference/redis-keys.md":     keyName,
		"internal/rediskey/keys.go":        keyName,
		"internal/consumer/poison_test.go": keyName,
	},
}

const (
	metricValue = "it is a value of a metric's label, which does not change"
	keyName     = "it is a part of the name of a Redis key, which does not change"
)

// TestPlainWords: no tracked text has a word of oldWords, unless allowedWords says why.
func TestPlainWords(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	read := 0
	for _, file := range texts(t) {
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		read++
		for _, f := range findOldWords(string(raw)) {
			if allowedWords[f.word][file] != "" {
				used[f.word+" "+file] = true
				continue
			}
			t.Errorf("%s:%d: %q: write %s", file, f.line, f.word, f.write)
		}
	}
	if read < 500 {
		t.Errorf("only %d files were read", read)
	}
	for word, files := range allowedWords {
		for file := range files {
			if !used[word+" "+file] {
				t.Errorf("%s has no %q any more: take it off the list", file, word)
			}
		}
	}
}

func TestPlainWordsFindsEach(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"dead entries are buried":    "buried",
		"if c.outOfRoom {":           "outofroom",
		"ErrUntold":                  "untold",
		"the port can't be had":      "can't be had",
		"Whoever asks":               "whoever",
		"mend it":                    "mend",
		"TestEventsOfTheFuture":      "eventsofthefuture",
		"a port that is none":        "that is none",
		"amend, recommended":         "",
		"there is none of that ID":   "",
		"an entry that is in flight": "",
	} {
		got := ""
		for _, f := range findOldWords("first line\n" + text) {
			if got = f.word; f.line != 2 {
				t.Errorf("%q: line %d", text, f.line)
			}
		}
		if got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}

// An oldWord is one found in a text.
type oldWord struct {
	word, write string
	line        int
}

func findOldWords(text string) []oldWord {
	var out []oldWord
	lower := strings.ToLower(text)
	for _, w := range oldWords {
		for _, at := range w.pattern.FindAllStringIndex(lower, -1) {
			out = append(out, oldWord{lower[at[0]:at[1]], w.write, 1 + strings.Count(lower[:at[0]], "\n")})
		}
	}
	return out
}

// texts lists the files that people write, relative to the root: no licence, no checksums, no
// recorded data, and not the list of words itself.
func texts(t *testing.T) []string {
	t.Helper()
	kinds := []string{".go", ".md", ".yaml", ".yml", ".lua", ".sql", ".sh", ".json", ".py", ".js", ".rb", ".php", ".java", ".acl", ".txt", ""}
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && (strings.HasPrefix(name, ".") && path != root && name != ".ci" || slices.Contains([]string{"bin", "node_modules", "vendor"}, name)):
			return filepath.SkipDir
		case d.Type().IsRegular() && slices.Contains(kinds, filepath.Ext(name)) && name != "LICENSE" && name != "words_test.go":
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
