package detectorcli

import (
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/cli"
)

// sections returns what --help says, by the titles of its sections.
func sections(t *testing.T, args ...string) map[string]string {
	t.Helper()
	code, stdout, stderr := commandLine(t.Context(), nil, append(args, "--help")...)
	if code != cli.ExitOK || stderr != "" {
		t.Fatalf("%v: exit %d, stderr %q", args, code, stderr)
	}
	found, title := map[string]string{}, ""
	for line := range strings.Lines(stdout) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(line, " ") {
			title = name
			continue
		}
		found[title] += line
	}
	return found
}

// TestHelpSeparatesCommandFlags: the flags that set a key of the configuration have a title of
// their own, and of these a command shows only those that it reads.
func TestHelpSeparatesCommandFlags(t *testing.T) {
	t.Parallel()
	var all []string
	for _, s := range allSettings() {
		all = append(all, "--"+s.flag)
	}
	blocks := []string{"--redis-url", "--postgres-url", "--key-prefix"}
	letters := []string{"--redis-url", "--streams"}
	for line, want := range map[string]struct{ own, settings []string }{
		"":        {[]string{"--help", "--version"}, all},
		"run":     {[]string{"--help"}, all},
		"migrate": {[]string{"--help", "--output"}, []string{"--postgres-url"}},
		"check": {
			[]string{"--help", "--output"},
			[]string{"--redis-url", "--postgres-url", "--key-prefix", "--mode", "--streams", "--group", "--consumer"},
		},
		"block":                {[]string{"--ttl", "--reason", "--by", "--status", "--message", "--yes", "--output", "--help"}, blocks},
		"unblock":              {[]string{"--reason", "--by", "--output", "--help"}, append([]string{"--streams"}, blocks...)},
		"blocks":               {[]string{"--scope", "--rule", "--limit", "--output", "--help"}, blocks},
		"rules list":           {[]string{"--all", "--output", "--help"}, []string{"--mode"}},
		"dead-letters list":    {[]string{"--stream", "--limit", "--output", "--help"}, letters},
		"dead-letters requeue": {[]string{"--stream", "--all", "--yes", "--set", "--unset", "--output", "--help"}, letters},
		"dead-letters purge":   {[]string{"--stream", "--all", "--yes", "--older-than", "--output", "--help"}, letters},
		"version":              {[]string{"--output", "--help"}, nil},
		"demo":                 {[]string{"--duration", "--seed", "--quiet", "--verbose", "--output", "--help"}, nil},
		"dev":                  {[]string{"--config", "--redis-addr", "--ingress-addr", "--verbose", "--output", "--help"}, nil},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			got := sections(t, strings.Fields(line)...)
			if names := flagsIn(got["Flags"]); !equalSets(names, want.own) {
				t.Errorf("own flags %q, want %q", names, want.own)
			}
			global := want.settings
			if global != nil {
				global = append([]string{"--config"}, global...)
			}
			if names := flagsIn(got["Global flags"]); !equalSets(names, global) {
				t.Errorf("global flags %q, want %q", names, global)
			}
		})
	}
}

// flagsIn returns the long names of the flags that a section lists.
func flagsIn(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 && strings.HasPrefix(words[0], "-") {
			at := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "--") })
			names = append(names, words[at])
		}
	}
	return names
}

func equalSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestHelpCommand: it says of a command what --help does, and lists all commands by itself.
func TestHelpCommand(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "block", "dead-letters", "dead-letters purge"} {
		_, want, _ := commandLine(t.Context(), nil, append(strings.Fields(line), "--help")...)
		code, got, stderr := commandLine(t.Context(), nil, append([]string{"help"}, strings.Fields(line)...)...)
		if code != cli.ExitOK || stderr != "" || got != want {
			t.Errorf("help %s: exit %d, stderr %q, stdout\n%s\nwant\n%s", line, code, stderr, got, want)
		}
	}
	for _, name := range []string{"run", "migrate", "check", "block", "unblock", "blocks", "rules", "dead-letters", "completion", "version", "demo", "dev"} {
		if got := sections(t)["Commands"]; !strings.Contains(got, "  "+name+" ") {
			t.Errorf("the commands lack %s:\n%s", name, got)
		}
	}
}
