package mutate

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	selected = flag.String("mutate", "", "names or files of the mutations to run, as a regular expression; empty runs none")
	together = flag.Int("together", 1, "how many mutations are run at the same time")
)

// patience bounds one mutation's tests of one package: what a mutation makes hang is killed by it.
const patience = 5 * time.Minute

// What becomes of a mutation, besides errors.
type verdict string

const (
	killed   verdict = "killed"
	survived verdict = "SURVIVED"
)

var (
	errBroken  = errors.New("the mutated program does not build")
	errNoTests = errors.New("there are no such tests")
)

// A runner runs tests of mutated programs. The files stay as they are: the go command is given
// others in their place, also where tests call it to build programs.
type runner struct {
	root string // of the module
	dir  string // for mutated files
}

// judge runs a mutation's tests until one of them fails, and says what did.
func (r *runner) judge(ctx context.Context, m *mutation) (v verdict, by string, err error) {
	text, err := m.apply(r.root)
	if err != nil {
		return "", "", err
	}
	overlay, err := r.overlay(m, text)
	if err != nil {
		return "", "", err
	}
	runs := m.runs()
	for _, pkg := range slices.Sorted(maps.Keys(runs)) {
		failed, out, err := r.test(ctx, pkg, runs[pkg], overlay)
		if err != nil {
			return "", "", fmt.Errorf("test %s: %w", pkg, err)
		}
		if failed {
			return killed, culprit(out), nil
		}
	}
	return survived, "", nil
}

// overlay writes the mutated file, and the list by which the go command finds it.
func (r *runner) overlay(m *mutation, text string) (string, error) {
	dir, err := os.MkdirTemp(r.dir, "mutation")
	if err != nil {
		return "", err
	}
	original, err := filepath.Abs(filepath.Join(r.root, m.File))
	if err != nil {
		return "", err
	}
	mutated := filepath.Join(dir, filepath.Base(m.File))
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, errors.Join(os.WriteFile(mutated, []byte(text), 0o600), os.WriteFile(path, list, 0o600))
}

// test runs tests of a package, with an overlay or without, and says whether one failed. Property
// tests draw the same each time, so that what is killed once is killed always.
func (r *runner) test(ctx context.Context, pkg, run, overlay string) (failed bool, out string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-count=1", "-failfast", "-timeout", patience.String(), "-run", run, pkg)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "RAPID_SEED=1", "RAPID_NOFAILFILE=true")
	if overlay != "" {
		cmd.Env = append(cmd.Env, "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)
	}
	raw, err := cmd.CombinedOutput()
	out = string(raw)
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return false, out, err
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return false, out, fmt.Errorf("%w: %.2000s", errBroken, out)
	case strings.Contains(out, "[no tests to run]"):
		return false, out, fmt.Errorf("%w: -run %s", errNoTests, run)
	}
	return err != nil, out, nil
}

// failure finds the name of a test that failed in what go test prints.
var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// culprit names the first test that failed, or says what else did.
func culprit(out string) string {
	switch found := failure.FindStringSubmatch(out); {
	case found != nil:
		return found[1]
	case strings.Contains(out, "panic: test timed out"):
		return "timeout"
	case strings.Contains(out, "panic:"):
		return "panic"
	}
	return "exit code"
}

// TestMutations runs the selected mutations: each must be killed, unless the list says why it is
// equivalent. It needs minutes.
func TestMutations(t *testing.T) {
	if *selected == "" {
		return // the short form is TestMutationsApply
	}
	which, err := regexp.Compile(*selected)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.DeleteFunc(load(t), func(m mutation) bool { return !which.MatchString(m.Name) && !which.MatchString(m.File) })
	r := &runner{root: root, dir: t.TempDir()}
	r.mustPass(t, all)
	slots := make(chan struct{}, max(*together, 1))
	for i := range all {
		t.Run(all[i].Name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			start := time.Now()
			v, by, err := r.judge(t.Context(), &all[i])
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("%-8s %5.1f s  %s  %s\n", v, time.Since(start).Seconds(), all[i].Name, by)
			switch equivalent := all[i].Equivalent != ""; {
			case v == survived && !equivalent:
				t.Error("no test notices")
			case v == killed && equivalent:
				t.Errorf("the list says that it is equivalent, but %s fails", by)
			}
		})
	}
}

// mustPass runs each package's tests without a mutation: where they fail anyway a mutation's death
// says nothing.
func (r *runner) mustPass(t *testing.T, all []mutation) {
	t.Helper()
	runs := map[string][]string{}
	for i := range all {
		for pkg, run := range all[i].runs() {
			if !slices.Contains(runs[pkg], run) {
				runs[pkg] = append(runs[pkg], run)
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(runs)) {
		failed, out, err := r.test(t.Context(), pkg, strings.Join(runs[pkg], "|"), "")
		if failed || err != nil {
			t.Fatalf("%s fails without a mutation: %v\n%s", pkg, err, out)
		}
	}
}
