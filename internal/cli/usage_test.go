package cli

import (
	"slices"
	"strings"
	"testing"
)

// sections returns what --help says, by the titles of its sections.
func sections(t *testing.T, args ...string) map[string]string {
	t.Helper()
	code, stdout, stderr := commandLine(t.Context(), nil, append(args, "--help")...)
	if code != exitOK || stderr != "" {
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

// TestHelpShowsACommandsOwnFlagsApart: the flags that many commands have are under another title, and of the commands
// that don't have them there is no such title.
func TestHelpShowsACommandsOwnFlagsApart(t *testing.T) {
	t.Parallel()
	for line, own := range map[string][]string{
		"": {"--help", "--version"}, "run": {"--help"}, "migrate": {"--help", "--output"}, "check": {"--help", "--output"},
		"block":   {"--ttl", "--reason", "--by", "--status", "--message", "--yes", "--output", "--help"},
		"unblock": {"--reason", "--by", "--output", "--help"}, "blocks": {"--scope", "--rule", "--limit", "--output", "--help"},
		"rules list": {"--all", "--output", "--help"}, "dead-letters list": {"--stream", "--limit", "--output", "--help"},
		"dead-letters requeue": {"--stream", "--all", "--yes", "--set", "--unset", "--output", "--help"},
		"dead-letters purge":   {"--stream", "--all", "--yes", "--older-than", "--output", "--help"},
		"version":              {"--output", "--help"}, "demo": {"--duration", "--seed", "--quiet", "--verbose", "--output", "--help"},
		"dev": {"--config", "--redis-addr", "--ingress-addr", "--verbose", "--output", "--help"},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			got := sections(t, strings.Fields(line)...)
			if names := flagsIn(got["Flags"]); !equalSets(names, own) {
				t.Errorf("own flags %q, want %q", names, own)
			}
			global := flagsIn(got["Global flags"])
			if slices.Contains([]string{"version", "demo", "dev"}, line) {
				if len(global) > 0 {
					t.Errorf("global flags %q of a command that has none", global)
				}
				return
			}
			want := []string{"--config"}
			for _, o := range overrides() {
				want = append(want, "--"+o.name)
			}
			if !equalSets(global, want) {
				t.Errorf("global flags %q, want %q", global, want)
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
		if code != exitOK || stderr != "" || got != want {
			t.Errorf("help %s: exit %d, stderr %q, stdout\n%s\nwant\n%s", line, code, stderr, got, want)
		}
	}
	for _, name := range []string{"run", "migrate", "check", "block", "unblock", "blocks", "rules", "dead-letters", "completion", "version", "demo", "dev"} {
		if got := sections(t)["Commands"]; !strings.Contains(got, "  "+name+" ") {
			t.Errorf("the commands lack %s:\n%s", name, got)
		}
	}
}
