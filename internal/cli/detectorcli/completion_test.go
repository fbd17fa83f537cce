package detectorcli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/config"
)

// completions returns what a shell is offered at the end of a line, without descriptions, and the
// directive for it.
func completions(t *testing.T, args ...string) (offered []string, directive string) {
	t.Helper()
	code, stdout, stderr := commandLine(t.Context(), nil, append([]string{"__completeNoDesc"}, args...)...)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != cli.ExitOK || len(lines) == 0 {
		t.Fatalf("%q: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
	}
	return lines[:len(lines)-1], lines[len(lines)-1]
}

const noFiles = ":4"

// TestCompletion: commands, flags, types of scopes, rules and the values of flags are offered, as
// the configuration that the line names has them; where nothing is known no files are offered.
func TestCompletion(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "detector.yaml")
	text := "scopes: [{name: tenant, attributes: [tenant.id], block: true}, {name: region, attributes: [region]}]\nstream: {names: [a, b]}\n" +
		"rules: [{name: brute_force_login}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("mode: nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var builtins []string
	for _, b := range config.Builtins() {
		builtins = append(builtins, b.Name)
	}
	scopes := []string{"user", "username", "session", "ip"}
	for name, tt := range map[string]struct {
		line   []string
		want   []string
		others bool // more may be offered
	}{
		"commands":                 {[]string{""}, []string{"block", "blocks", "check", "completion", "dead-letters", "demo", "dev", "migrate", "rules", "run", "unblock", "version"}, true},
		"commands that begin so":   {[]string{"bl"}, []string{"block", "blocks"}, false},
		"sub-commands":             {[]string{"dead-letters", ""}, []string{"list", "purge", "requeue"}, false},
		"scope types":              {[]string{"block", ""}, scopes, false},
		"scope types of unblock":   {[]string{"unblock", ""}, scopes, false},
		"scope types of blocks":    {[]string{"blocks", ""}, scopes, false},
		"configured scope types":   {[]string{"block", "--config", file, ""}, append([]string{"tenant"}, scopes...), false},
		"of a broken file":         {[]string{"block", "--config", broken, ""}, scopes, false},
		"of no file":               {[]string{"block", "--config", broken + ".gone", ""}, scopes, false},
		"scope types of a flag":    {[]string{"blocks", "--config", file, "--scope", ""}, append([]string{"tenant"}, scopes...), false},
		"a scope's value":          {[]string{"block", "ip", ""}, nil, false},
		"after a scope's value":    {[]string{"unblock", "ip", "203.0.113.9", ""}, nil, false},
		"rules":                    {[]string{"rules", "list", ""}, builtins, false},
		"rules but those there":    {[]string{"rules", "list", "brute_force_login", "login_throttle", ""}, []string{"repeated_route"}, true},
		"rules of blocks":          {[]string{"blocks", "--rule", ""}, append([]string{"manual"}, builtins...), false},
		"flags":                    {[]string{"block", "--"}, []string{"--ttl", "--reason", "--by", "--yes", "--output", "--config", "--redis-url"}, true},
		"flags that begin so":      {[]string{"blocks", "--li"}, []string{"--limit"}, false},
		"formats":                  {[]string{"check", "-o", ""}, []string{"text", "json"}, false},
		"modes":                    {[]string{"run", "--mode", ""}, []string{"enforce", "observe"}, false},
		"levels":                   {[]string{"run", "--log-level", ""}, []string{"debug", "info", "warn", "error"}, false},
		"streams":                  {[]string{"dead-letters", "list", "--config", file, "--stream", ""}, []string{"a", "b"}, false},
		"shells":                   {[]string{"completion", ""}, []string{"bash", "fish", "powershell", "zsh"}, false},
		"a dead letter's ID":       {[]string{"dead-letters", "purge", ""}, nil, false},
		"a command without more":   {[]string{"version", ""}, nil, false},
		"the worker without more":  {[]string{"run", ""}, nil, false},
		"an address to listen on":  {[]string{"run", "--http-addr", ""}, nil, false},
		"a URL that may be secret": {[]string{"run", "--redis-url", ""}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, directive := completions(t, tt.line...)
			for _, want := range tt.want {
				if !slices.Contains(got, want) {
					t.Errorf("%q are offered, which lacks %s", got, want)
				}
			}
			if !tt.others && len(got) != len(tt.want) {
				t.Errorf("%q are offered, want %q", got, tt.want)
			}
			if tt.others && slices.ContainsFunc(tt.line, func(word string) bool { return slices.Contains(got, word) && word != "" }) {
				t.Errorf("%q are offered though they are there", got)
			}
			if directive != noFiles {
				t.Errorf("directive %s, want %s", directive, noFiles)
			}
		})
	}
	if got, directive := completions(t, "run", "--config", ""); directive != ":8" || !slices.Equal(got, []string{"yaml", "yml"}) {
		t.Errorf("files that end in %q are offered, directive %s", got, directive)
	}
}

// TestCompletionScripts: there is one for each shell.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string]string{"bash": "complete -o", "zsh": "#compdef detector", "fish": "complete -c detector", "powershell": "Register-ArgumentCompleter"} {
		code, stdout, stderr := commandLine(t.Context(), nil, "completion", shell)
		if code != cli.ExitOK || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit %d, stderr %q, %d bytes that lack %q", shell, code, stderr, len(stdout), want)
		}
	}
}
